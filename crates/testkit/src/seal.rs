//! Whether the pages that a program embeds are what their sources build.

use aws_lc_rs::digest::{Context, SHA256};
use std::path::{Path, PathBuf};

/// All that decides what is built; `seal.mjs`, which every build of pages ends with, has the same list.
const SOURCES: [&str; 7] =
    ["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];

/// Checks that `dist/SEAL` in the folder `web`, which a build writes, fits the sources and the assets there.
///
/// # Panics
/// If it does not: the pages were changed and not built, or not all that was built is there.
pub fn assert_sealed(web: &Path) {
    let seal = std::fs::read_to_string(web.join("dist/SEAL")).expect("a build writes dist/SEAL");
    let now = format!("sources {}\nassets {}\n", digest(web, &SOURCES), digest(web, &["dist"]));
    let folder = web.display();
    assert_eq!(seal, now, "run `npm ci && npm run build` in {folder}, and commit what it builds");
}

/// Hashes files by their names, sizes and contents, sorted by name.
fn digest(root: &Path, of: &[&str]) -> String {
    let mut files: Vec<String> = Vec::new();
    let mut open: Vec<PathBuf> = of.iter().map(|name| root.join(name)).collect();
    while let Some(path) = open.pop() {
        match path.read_dir() {
            Ok(inside) => open.extend(inside.map(|entry| entry.expect("a folder can be read").path())),
            Err(_) => {
                let name = path.strip_prefix(root).expect("it was found below");
                files.push(name.to_str().expect("names are UTF-8").to_owned());
            }
        }
    }
    files.retain(|name| name != "dist/SEAL");
    files.sort();
    let mut context = Context::new(&SHA256);
    for name in files {
        let content = std::fs::read(root.join(&name)).expect("a source can be read");
        context.update(format!("{name}\0{}\0", content.len()).as_bytes());
        context.update(&content);
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
