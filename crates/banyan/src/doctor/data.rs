//! The data folder: whether it can be written, what disk it is on, and how much room there is.

use banyan_core::{Check, Error, Finding};
use rustix::fs::{Access, access, statfs, statvfs};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Free room under which nothing should be started, in bytes.
const FREE_BYTES_MIN: u64 = 100 << 20;
/// Free room under which a warning is due, in bytes, where no event log is kept.
const FREE_BYTES_LOW: u64 = 1 << 30;
/// File systems (`statfs(2)`) over a network: what they say of locks and of what is on the disk is not always true.
const NETWORK: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
];
/// File systems in memory.
const MEMORY: &[(u64, &str)] = &[(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];
/// Rights of the group and of others.
const NOT_PRIVATE: u32 = 0o077;

/// Looks at the folder; an event log in it may grow to `log_bytes_max`.
pub(super) async fn examine(folder: PathBuf, log_bytes_max: Option<u64>) -> Vec<Finding> {
    // A network mount that hangs blocks its thread.
    let looked = tokio::task::spawn_blocking(move || look(&folder, log_bytes_max)).await;
    looked.unwrap_or_else(|e| vec![failed(&Error::internal(e))])
}

fn failed(error: &Error) -> Finding {
    Finding::of_error(Check::Storage, "folder", error, "choose another folder with --data")
}

fn look(folder: &Path, log_bytes_max: Option<u64>) -> Vec<Finding> {
    // The nearest folder that there is: where the missing ones would be made.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let Some(present) = absolute.ancestors().find(|path| path.exists()) else {
        return vec![failed(&Error::unavailable("there is no root folder"))];
    };
    let mut findings = vec![usable(&absolute, present)];
    findings.extend(room(present, log_bytes_max));
    findings.extend(file_system(present));
    findings
}

fn usable(folder: &Path, present: &Path) -> Finding {
    let subject = "folder";
    let metadata = match std::fs::metadata(present) {
        Ok(metadata) => metadata,
        Err(e) => return failed(&Error::internal(e)),
    };
    if !metadata.is_dir() {
        let found = format!("{} is no folder", present.display());
        return Finding::fail(
            Check::Storage,
            subject,
            found,
            "move the file away, or choose another folder with --data",
        );
    }
    if access(present, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let found = format!("this user may not write in {}", present.display());
        let next = format!("chown it to this user: sudo chown -R \"$USER\" {}", present.display());
        return Finding::fail(Check::Storage, subject, found, next);
    }
    if present != folder {
        return Finding::ok(Check::Storage, subject, "the first start makes it, with mode 0700");
    }
    let mode = metadata.mode() & 0o777;
    if mode & NOT_PRIVATE != 0 {
        let found = format!("others may look into it (mode {mode:04o})");
        let next = format!("chmod 700 {}", folder.display());
        return Finding::warn(Check::Storage, subject, found, next);
    }
    Finding::ok(Check::Storage, subject, format!("can be written, mode {mode:04o}"))
}

fn room(present: &Path, log_bytes_max: Option<u64>) -> Option<Finding> {
    let disk = statvfs(present).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let low = log_bytes_max.unwrap_or(FREE_BYTES_LOW);
    let found = format!("{} free", gibibytes(free));
    let next = "make room, or choose a folder on another disk with --data";
    Some(match log_bytes_max {
        _ if free < FREE_BYTES_MIN => Finding::fail(Check::Storage, "disk", found, next),
        Some(most) if free < low => {
            let found = format!("{found}; the event log may grow to {}", gibibytes(most));
            Finding::warn(Check::Storage, "disk", found, "make room, or lower limits.log_bytes_max")
        }
        None if free < low => Finding::warn(Check::Storage, "disk", found, next),
        _ => Finding::ok(Check::Storage, "disk", found),
    })
}

fn file_system(present: &Path) -> Option<Finding> {
    let kind = u64::try_from(statfs(present).ok()?.f_type).ok()? & u64::from(u32::MAX);
    let named = |kinds: &[(u64, &'static str)]| kinds.iter().find(|(k, _)| *k == kind).map(|(_, name)| *name);
    if let Some(name) = named(NETWORK) {
        let found = format!("{name}: locks, and writes that are said to be on the disk, may not hold there");
        let next = "put the folder on a local disk (--data)";
        return Some(Finding::warn(Check::Storage, "file system", found, next));
    }
    let name = named(MEMORY)?;
    let found = format!("{name}: what is kept there is gone when the machine stops");
    Some(Finding::warn(Check::Storage, "file system", found, "put the folder on a disk (--data)"))
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_core::Verdict;
    use std::os::unix::fs::PermissionsExt as _;

    fn of<'f>(findings: &'f [Finding], subject: &str) -> &'f Finding {
        findings.iter().find(|f| f.subject == subject).unwrap_or_else(|| panic!("{subject}: {findings:?}"))
    }

    #[tokio::test]
    async fn a_folder_is_examined_before_and_after_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let findings = examine(data.clone(), None).await;
        assert!(of(&findings, "folder").found.contains("first start makes it"), "{findings:?}");
        assert!(!data.exists(), "nothing is made");

        std::fs::create_dir_all(&data).unwrap();
        for (mode, verdict) in [(0o755, Verdict::Warn), (0o700, Verdict::Ok)] {
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(of(&examine(data.clone(), None).await, "folder").verdict, verdict, "{mode:o}");
        }
        // No disk has as much.
        let findings = examine(data.clone(), Some(u64::MAX)).await;
        assert_eq!(of(&findings, "disk").verdict, Verdict::Warn, "{findings:?}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(of(&examine(file, None).await, "folder").verdict, Verdict::Fail);
    }
}
