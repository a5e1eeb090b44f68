//! What the results were measured on.

use std::fs;
use std::path::Path;

/// Describes the machine in one line: cores, processor, kernel, the file system below `folder`.
pub(crate) fn describe(folder: &Path) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = read("/proc/sys/kernel/osrelease");
    let meminfo = read("/proc/meminfo");
    let memory_kb = meminfo.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
    });
    format!(
        "{cores} cores ({}), {:.0} GB of memory, Linux {}, {}",
        model.map_or("unknown processor", |(_, name)| name.trim()),
        memory_kb.unwrap_or(0.0) / 1e6,
        kernel.trim(),
        file_system(folder, &read("/proc/mounts")).unwrap_or("unknown file system"),
    )
}

/// Returns the type of the file system that holds `folder`: the one with the longest mount point.
fn file_system<'a>(folder: &Path, mounts: &'a str) -> Option<&'a str> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    mounted.filter(|(point, _)| folder.starts_with(point)).max_by_key(|(point, _)| point.len()).map(|m| m.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/tmp/x"), mounts), Some("tmpfs"));
        assert_eq!(file_system(Path::new("/srv"), mounts), Some("ext4"));
    }
}
