//! What other programs read of the filter.

pub mod metrics;

/// Prometheus' own checker, for tests: on `PATH`, or where set-up unpacks it.
#[cfg(test)]
fn promtool() -> Option<std::path::PathBuf> {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let unpacked = workspace.join(".toolchain");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([unpacked])
        .map(|directory| directory.join("promtool"))
        .find(|file| file.is_file())
}
