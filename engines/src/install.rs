//! Finding an engine's program, and installing it by package name where it is missing.

use crate::Kind;
use crate::launchers::{Facts, Launch, run};
use anyhow::{Context, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one installation may take, with the time it waits for another one.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// How often the lock of another installation is looked at.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Package names in the ordinary registries.
pub(crate) struct Packages {
    /// Debian's packages.
    pub(crate) apt: &'static [&'static str],
    /// Python's packages, for the project's own virtual environment.
    pub(crate) pip: &'static [&'static str],
    /// Artifacts of Maven Central (`group:artifact:version`), whose jars come with their run-time dependencies into a
    /// folder of the engine's own.
    pub(crate) maven: &'static [&'static str],
}

impl Packages {
    pub(crate) const fn apt(names: &'static [&'static str]) -> Self {
        Self { apt: names, pip: &[], maven: &[] }
    }

    pub(crate) const fn pip(names: &'static [&'static str]) -> Self {
        Self { apt: &[], pip: names, maven: &[] }
    }

    /// Artifacts of Maven Central; Maven itself and a Java runtime come from Debian.
    pub(crate) const fn maven(names: &'static [&'static str]) -> Self {
        Self { apt: &["maven", "openjdk-17-jre-headless"], pip: &[], maven: names }
    }
}

/// Returns the program of an engine, after installing it by package name if this machine does not have it.
///
/// Debian's packages are installed as root or through `sudo -n`, and their services are not started; Python's packages go
/// into `target/engines/venv`, Java's jars into `target/engines/jars`. One installation runs at a time. Errors say what
/// to do by hand.
pub async fn install(kind: Kind) -> Result<PathBuf> {
    let facts = kind.launcher().facts();
    let folder = engines_folder();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join("install.lock");
    let install = async {
        {
            // A program that is just being written is no program yet.
            let _nobody_installs = lock(&path, File::try_lock_shared).await?;
            if find(facts).is_some() {
                return Ok(());
            }
        }
        let _alone = lock(&path, File::try_lock).await?;
        // Another process may have installed it while this one waited.
        if find(facts).is_none() {
            install_packages(facts).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(INSTALL_LIMIT, install)
        .await
        .with_context(|| format!("the installation of {kind} takes longer than {INSTALL_LIMIT:?}"))??;
    find(facts).with_context(|| format!("{kind} was installed, but none of {:?} is there", facts.programs))
}

/// Returns a program of the Debian package of the same name, such as `strace`, after installing it if it is missing.
///
/// Errors say what to do by hand.
pub async fn install_tool(name: &'static str) -> Result<PathBuf> {
    if let Some(program) = in_path(name) {
        return Ok(program);
    }
    let folder = engines_folder();
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let install = async {
        let _alone = lock(&folder.join("install.lock"), File::try_lock).await?;
        if in_path(name).is_none() {
            eprintln!("installing {name} with apt-get");
            apt_install(&[name]).await?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(INSTALL_LIMIT, install)
        .await
        .with_context(|| format!("the installation of {name} takes longer than {INSTALL_LIMIT:?}"))??;
    in_path(name).with_context(|| format!("{name} was installed, but is not in PATH"))
}

/// Returns the folder of everything that engines keep between commands: `target/engines`.
pub(crate) fn engines_folder() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a folder of the checkout");
    target.map_or_else(|| root.join("target"), |target| root.join(target)).join("engines")
}

fn venv() -> PathBuf {
    engines_folder().join("venv")
}

fn jars() -> PathBuf {
    engines_folder().join("jars")
}

/// Looks for an engine's program on this machine.
pub(crate) fn find(facts: &Facts) -> Option<PathBuf> {
    facts.programs.iter().find_map(|program| match program {
        program if program.starts_with('/') => expand(Path::new("/"), program),
        program if program.ends_with(".jar") => {
            expand(&jars(), program).filter(|_| in_path("java").is_some())
        }
        program if program.contains('/') => expand(&venv(), program),
        program => in_path(program),
    })
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Resolves a path whose `*` parts stand for any folder name with that beginning and end; the last in name order wins.
fn expand(base: &Path, pattern: &str) -> Option<PathBuf> {
    let mut found = vec![base.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let Some((start, end)) = part.split_once('*') else {
            found = found.into_iter().map(|path| path.join(part)).collect();
            continue;
        };
        let entries = found.iter().filter_map(|path| fs::read_dir(path).ok()).flatten().flatten();
        let fits = |name: &str| name.starts_with(start) && name.ends_with(end);
        let fitting = entries.filter(|entry| entry.file_name().to_str().is_some_and(fits));
        found = fitting.map(|entry| entry.path()).collect();
    }
    found.retain(|path| path.is_file());
    found.into_iter().max()
}

async fn lock(path: &Path, try_lock: fn(&File) -> Result<(), TryLockError>) -> Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
    }
}

async fn install_packages(facts: &Facts) -> Result<()> {
    let Packages { apt, pip, maven } = facts.packages;
    let java = ["mvn", "java"].iter().all(|program| in_path(program).is_some());
    if !apt.is_empty() && (maven.is_empty() || !java) {
        eprintln!("installing {} with apt-get: {}", facts.name, apt.join(" "));
        apt_install(apt).await?;
    }
    if !pip.is_empty() {
        eprintln!("installing {} with pip into {}: {}", facts.name, venv().display(), pip.join(" "));
        pip_install(pip).await?;
    }
    if !maven.is_empty() {
        eprintln!("installing {} with mvn into {}: {}", facts.name, jars().display(), maven.join(" "));
        maven_install(facts.name, maven).await?;
    }
    Ok(())
}

/// Installs Debian packages (`"$@"`) without starting their services, with fresh package lists only if it must be.
const APT_INSTALL: &str = r#"
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
get() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"; }
get install --no-install-recommends "$@" || { get update; get install --no-install-recommends "$@"; }
"#;

async fn apt_install(packages: &[&str]) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    let shell = if root { Launch::new("sh") } else { Launch::new("sudo").args(["-n", "sh"]) };
    let launch = shell.args(["-c", APT_INSTALL, "sh"]).args(packages.iter().copied());
    let outcome = run(launch, Path::new("/"), INSTALL_LIMIT).await;
    outcome.map(drop).with_context(|| {
        format!("apt-get cannot install it from here; as root: apt-get install {}", packages.join(" "))
    })
}

async fn pip_install(packages: &[&str]) -> Result<()> {
    let venv = venv();
    let python = venv.join("bin/python3");
    if !venv.join("bin/pip").is_file() {
        make_venv(&venv).await?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let launch = Launch::new(python).args(pip).args(packages.iter().copied());
    let outcome = run(launch, &venv, INSTALL_LIMIT).await;
    outcome.map(drop).with_context(|| {
        format!("pip cannot install it; by hand: {}/bin/pip install {}", venv.display(), packages.join(" "))
    })
}

async fn make_venv(venv: &Path) -> Result<()> {
    let make = |python: &str| Launch::new(python).args(["-m", "venv", "--clear"]).arg(venv);
    let here = engines_folder();
    if run(make("python3"), &here, INSTALL_LIMIT).await.is_ok() {
        return Ok(());
    }
    eprintln!("installing python3-venv with apt-get");
    apt_install(&["python3-venv"]).await?;
    run(make("/usr/bin/python3"), &here, INSTALL_LIMIT).await.map(drop)
}

/// Copies artifacts and what they need at run time into `target/engines/jars/NAME`, all or nothing.
async fn maven_install(name: &str, artifacts: &[&str]) -> Result<()> {
    let (project, folder) = (jars().join(format!("{name}.project")), jars().join(name));
    fs::create_dir_all(&project).with_context(|| format!("create {}", project.display()))?;
    fs::write(project.join("pom.xml"), pom(artifacts)?)?;
    // Versions that were there before do not belong on the class path.
    for stale in [&folder, &project.join("copied")] {
        if stale.exists() {
            fs::remove_dir_all(stale).with_context(|| format!("remove {}", stale.display()))?;
        }
    }
    let goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
    let copy = [goal, "-DincludeScope=runtime", "-DoutputDirectory=copied"];
    let launch = Launch::new("mvn").args(["--batch-mode", "--quiet"]).args(copy);
    let outcome = run(launch, &project, INSTALL_LIMIT).await;
    outcome.with_context(|| format!("Maven cannot copy {} from Maven Central", artifacts.join(", ")))?;
    fs::rename(project.join("copied"), &folder).with_context(|| format!("make {}", folder.display()))
}

/// Writes a project that does nothing but depend on `artifacts`.
fn pom(artifacts: &[&str]) -> Result<String> {
    let mut dependencies = String::new();
    for artifact in artifacts {
        let [group, name, version] = artifact.split(':').collect::<Vec<_>>()[..] else {
            anyhow::bail!("{artifact:?} is not group:artifact:version");
        };
        dependencies += &format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>\n"
        );
    }
    Ok(format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
         <groupId>banyan</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{dependencies}</dependencies>\n</project>\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn the_last_folder_that_fits_wins() {
        let base = tempfile::tempdir().unwrap();
        for version in ["13", "15", "notes"] {
            std::fs::create_dir_all(base.path().join("lib").join(version)).unwrap();
        }
        std::fs::write(base.path().join("lib/13/server"), "").unwrap();
        std::fs::write(base.path().join("lib/15/server"), "").unwrap();
        assert_eq!(expand(base.path(), "lib/*/server"), Some(base.path().join("lib/15/server")));
        assert_eq!(expand(base.path(), "lib/1*/nothing"), None);
    }
}
