//! `cargo xtask screenshots`: the pictures of the documents, drawn in a real browser from a shop with traffic.

use crate::{test, workspace};
use anyhow::{Context, Result};

/// Where the test that draws the pictures puts them, if it is to keep them.
const FOLDER_VARIABLE: &str = "BANYAN_PICTURES";
/// The test that draws them: it has a shop, visitors, and events that a service gave up.
const TEST: &str = "console_browser::the_pictures_of_the_documents_can_be_drawn";
/// GitHub shows a page with several of them; a larger one is drawn smaller.
const BYTES_MAX: u64 = 200_000;

/// Draws them all into docs/img.
pub(crate) fn run() -> Result<()> {
    let folder = workspace::root().join("docs/img");
    let variables = [(FOLDER_VARIABLE.to_owned(), folder.display().to_string())];
    let args =
        ["test", "-p", "shop", "--features", "browser", "--test", "it", "--", "--exact", TEST, "--nocapture"];
    test::cargo_with(&args, &variables)?;
    for entry in std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let bytes = entry.metadata()?.len();
        println!("{:>7} bytes  {}", bytes, entry.path().display());
        anyhow::ensure!(bytes <= BYTES_MAX, "{} has more than {BYTES_MAX} bytes", entry.path().display());
    }
    Ok(())
}
