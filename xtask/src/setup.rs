//! `cargo xtask setup`: is everything here that the build and the tests need?
//!
//! That is the pinned Rust toolchain and compilers (for the bundled SQLite, AWS-LC and, with `make`, librdkafka), which
//! this command only looks for, and the engines and the browser that tests start, which it installs by package name.

use crate::{engines, workspace};
use anyhow::{Context, Result};
use banyan_engines::{Kind, install, install_tool};
use std::process::Command;

struct Requirement {
    what: &'static str,
    program: &'static str,
    args: &'static [&'static str],
    /// What the first line of the program's output has to contain.
    contains: Option<String>,
    remedy: String,
}

pub(crate) fn run() -> Result<()> {
    let requirements = requirements()?;
    let mut missing = 0;
    for requirement in &requirements {
        match found(requirement) {
            Ok(version) => println!("ok       {:<16} {version}", requirement.what),
            Err(problem) => {
                missing += 1;
                println!("MISSING  {:<16} {problem}; get it with: {}", requirement.what, requirement.remedy);
            }
        }
    }
    anyhow::ensure!(missing == 0, "{missing} of {} requirements are missing, see above", requirements.len());
    for (index, kind) in Kind::ALL.iter().enumerate() {
        let program = engines::block_on(install(*kind))
            .with_context(|| format!("engine {} of {}: {kind}", index + 1, Kind::ALL.len()))?;
        println!("ok       {kind:<16} {}", program.display());
    }
    let program =
        engines::block_on(install_tool("strace")).context("strace, which makes disks slow in tests")?;
    println!("ok       {:<16} {}", "strace", program.display());
    browser()?;
    println!("nothing is missing: `cargo xtask test` can run");
    Ok(())
}

/// Folders whose pages are built and tested with Node.
const WEB: [&str; 2] = ["shop/shop/web", "crates/console/web"];

/// Installs what tests the storefront and the console: Chromium, and by Node the packages that drive it, as each
/// `package-lock.json` pins them.
fn browser() -> Result<()> {
    let program =
        engines::block_on(install_tool("chromium")).context("chromium, in which pages are tested")?;
    println!("ok       {:<16} {}", "chromium", program.display());
    let npm =
        engines::block_on(install_tool("npm")).context("npm, which installs what drives the browser")?;
    let args = ["ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    for folder in WEB.map(|folder| workspace::root().join(folder)) {
        let status = Command::new(&npm).args(args).current_dir(&folder).status().context("start npm")?;
        anyhow::ensure!(
            status.success(),
            "`npm {}` in {} ended with {status}",
            args.join(" "),
            folder.display()
        );
        println!("ok       {:<16} {}", "web packages", folder.join("node_modules").display());
    }
    Ok(())
}

fn requirements() -> Result<Vec<Requirement>> {
    let channel = pinned_channel()?;
    let component = |name: &str| format!("rustup component add {name} --toolchain {channel}");
    Ok(vec![
        Requirement {
            what: "Rust toolchain",
            program: "rustc",
            args: &["--version"],
            contains: Some(format!("rustc {channel}")),
            remedy: format!("rustup toolchain install {channel}"),
        },
        Requirement {
            what: "rustfmt",
            program: "cargo",
            args: &["fmt", "--version"],
            contains: None,
            remedy: component("rustfmt"),
        },
        Requirement {
            what: "clippy",
            program: "cargo",
            args: &["clippy", "--version"],
            contains: None,
            remedy: component("clippy"),
        },
        Requirement {
            what: "C compiler",
            program: "cc",
            args: &["--version"],
            contains: None,
            remedy: "apt-get install gcc libc6-dev (Debian), xcode-select --install (macOS)".to_owned(),
        },
        Requirement {
            what: "C++ compiler",
            program: "c++",
            args: &["--version"],
            contains: None,
            remedy: "apt-get install g++ (Debian), xcode-select --install (macOS)".to_owned(),
        },
        Requirement {
            what: "make",
            program: "make",
            args: &["--version"],
            contains: None,
            remedy: "apt-get install make (Debian), xcode-select --install (macOS)".to_owned(),
        },
    ])
}

/// Reads the toolchain that `rust-toolchain.toml` pins.
fn pinned_channel() -> Result<String> {
    let path = workspace::root().join("rust-toolchain.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("channel = "));
    let channel = line.with_context(|| format!("{} names no channel", path.display()))?;
    Ok(channel.trim_matches('"').to_owned())
}

/// Returns the first line of what the required program says about itself, or what is wrong with it.
fn found(requirement: &Requirement) -> Result<String, String> {
    let output = Command::new(requirement.program)
        .args(requirement.args)
        .output()
        .map_err(|error| format!("`{}` does not start ({error})", requirement.program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default().trim().to_owned();
    if !output.status.success() {
        return Err(format!("`{} {}` fails", requirement.program, requirement.args.join(" ")));
    }
    match &requirement.contains {
        Some(expected) if !first.contains(expected.as_str()) => {
            Err(format!("found {first:?}, need {expected:?}"))
        }
        _ => Ok(first),
    }
}
