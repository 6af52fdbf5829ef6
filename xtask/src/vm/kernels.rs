//! Debian's cloud kernels: which ones, and how they come into the cache below `target/vm/kernels`.
//!
//! Each is named by its meta package, so that the newest build of a series comes and a name never goes stale. Packages are
//! fetched and unpacked, not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toolchain::apt::{Apt, Package};

use super::project::{NEWEST_ALONE, OLDEST_ALONE, Share};

/// A series of kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kernel {
    /// Too old: it lacks the atomic operations of BPF.
    #[value(name = "5.10")]
    V5_10,
    /// The oldest that the filter runs on, Debian 12.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13.
    #[value(name = "6.12")]
    V6_12,
    /// Debian's newest: 7.2 when this was written.
    #[value(name = "7.2", alias = "newest")]
    V7_2,
}

impl Kernel {
    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::V5_10 => "5.10",
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_2 => "7.2",
        }
    }

    /// Whether the filter runs on it.
    pub fn is_supported(self) -> bool {
        self != Self::V5_10
    }

    /// What of the daemon's tests runs there unless all are asked for.
    pub fn share(self) -> Share {
        match self {
            Self::V6_1 => Share::AllBut(&NEWEST_ALONE),
            Self::V7_2 => Share::AllBut(&OLDEST_ALONE),
            // Older and newer ones are supported, too: what neither of them does otherwise, these hardly will.
            Self::V5_10 | Self::V6_12 => Share::Nothing,
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V5_10 => "bullseye-security",
            Self::V6_1 | Self::V6_12 => "bookworm-security",
            Self::V7_2 => "trixie-backports",
        }
    }

    fn meta_package(self) -> &'static str {
        match self {
            Self::V6_12 => "linux-image-6.12-cloud-amd64",
            Self::V5_10 | Self::V6_1 | Self::V7_2 => "linux-image-cloud-amd64",
        }
    }
}

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The series.
    pub kernel: Kernel,
    /// The full version, as `uname -r` says it.
    pub version: String,
    /// The image that boots.
    pub image: PathBuf,
    /// Its `lib/modules/VERSION`.
    pub modules: PathBuf,
    /// Something that the one who asked for it should know.
    pub note: Option<String>,
}

/// What lies beside an unpacked kernel and makes it complete.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// `name=version` of each.
    packages: Vec<String>,
    version: String,
    /// Below the directory of the kernel, as `modules` is.
    image: PathBuf,
    modules: PathBuf,
}

const MANIFEST: &str = "manifest.json";

/// Brings the kernels into the cache `dir`, suites side by side, and says on standard error what it fetches.
///
/// What is there is taken as it is, unless `refresh` asks for what is newest now; where that cannot be had, the one that is
/// there is taken, with a note.
pub fn fetch(dir: &Path, kernels: &[Kernel], refresh: bool) -> Result<Vec<Unpacked>> {
    let mut suites: Vec<&str> = kernels.iter().map(|kernel| kernel.suite()).collect();
    suites.sort_unstable();
    suites.dedup();
    let mut fetched = thread::scope(|scope| {
        let threads: Vec<_> = suites
            .into_iter()
            .map(|suite| {
                scope.spawn(move || {
                    let mut source = Source::new(dir, suite);
                    let of_suite = kernels.iter().filter(|kernel| kernel.suite() == suite);
                    of_suite
                        .map(|&kernel| source.obtain(kernel, refresh))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<_>>>()
    })?
    .concat();
    fetched.sort_by_key(|unpacked| unpacked.kernel);
    Ok(fetched)
}

/// One suite of Debian, asked at most once.
struct Source<'a> {
    cache: &'a Path,
    suite: &'static str,
    apt: Option<Apt>,
}

impl<'a> Source<'a> {
    fn new(cache: &'a Path, suite: &'static str) -> Self {
        Self { cache, suite, apt: None }
    }

    fn obtain(&mut self, kernel: Kernel, refresh: bool) -> Result<Unpacked> {
        let Some(manifest) = read_manifest(&self.cache.join(kernel.name())) else {
            let fetched = self.newest(kernel).and_then(|packages| self.download(kernel, packages));
            return fetched.with_context(|| {
                format!(
                    "kernel {} is not in the cache yet and cannot be had from Debian's suite {}",
                    kernel.name(),
                    self.suite
                )
            });
        };
        if !refresh {
            return Ok(self.unpacked(kernel, manifest, None));
        }
        match self.newest(kernel) {
            Ok(packages) if identities(&packages) == manifest.packages => {
                Ok(self.unpacked(kernel, manifest, None))
            }
            Ok(packages) => self.download(kernel, packages),
            Err(error) => {
                let note = format!(
                    "could not ask for a newer one, so the {} that is in the cache is taken: {error:#}",
                    manifest.version
                );
                Ok(self.unpacked(kernel, manifest, Some(note)))
            }
        }
    }

    fn unpacked(&self, kernel: Kernel, manifest: Manifest, note: Option<String>) -> Unpacked {
        let dir = self.cache.join(kernel.name());
        Unpacked {
            kernel,
            version: manifest.version,
            image: dir.join(manifest.image),
            modules: dir.join(manifest.modules),
            note,
        }
    }

    fn apt(&mut self) -> Result<&Apt> {
        let apt = match self.apt.take() {
            Some(apt) => apt,
            None => {
                let apt = Apt::of_suite(self.suite, &self.cache.join(".apt").join(self.suite))?;
                apt.update()?;
                apt
            }
        };
        Ok(self.apt.insert(apt))
    }

    /// The packages that the meta package stands for now.
    fn newest(&mut self, kernel: Kernel) -> Result<Vec<Package>> {
        let apt = self.apt()?;
        let meta = apt.package(kernel.meta_package())?;
        let Some(image) = meta.depends.iter().find(|name| name.starts_with("linux-image-")) else {
            bail!(
                "its package {} depends on no linux-image: the suite has changed its shape, mend `newest` of xtask/src/vm/kernels.rs",
                meta.name
            );
        };
        let image = apt.package(image)?;
        // From 6.19 the image is empty and depends on the kernel proper, its modules and their common base.
        let parts = image.depends.iter().filter(|name| is_part(name));
        let parts = parts.map(|name| apt.package(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(if parts.is_empty() { vec![image] } else { parts })
    }

    fn download(&mut self, kernel: Kernel, packages: Vec<Package>) -> Result<Unpacked> {
        let names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
        eprintln!("kernel {}: fetching {}", kernel.name(), names.join(", "));
        let (cache, apt) = (self.cache, self.apt()?);
        let (debs, fresh) = (
            cache.join(format!("{}.debs", kernel.name())),
            cache.join(format!("{}.new", kernel.name())),
        );
        for dir in [&debs, &fresh] {
            remove(dir)?;
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        for deb in apt.download(&names, &debs)? {
            Apt::unpack(&deb, &fresh)?;
        }
        let manifest = describe(&fresh, identities(&packages))?;
        let text = serde_json::to_string_pretty(&manifest).context("a manifest is plain data")?;
        let path = fresh.join(MANIFEST);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        // Whole or not at all: a name in the cache without its manifest counts as absent.
        let place = cache.join(kernel.name());
        remove(&place)?;
        fs::rename(&fresh, &place)
            .with_context(|| format!("cannot move {} into its place", fresh.display()))?;
        remove(&debs)?;
        Ok(self.unpacked(kernel, manifest, None))
    }
}

/// Name and version of each: a build can be replaced by a newer one under the same name.
fn identities(packages: &[Package]) -> Vec<String> {
    packages.iter().map(|package| format!("{}={}", package.name, package.version)).collect()
}

/// `linux-binary-7.2.12+deb13-cloud-amd64` is part of a kernel, `linux-base` is not.
fn is_part(package: &str) -> bool {
    ["linux-binary-", "linux-modules-", "linux-base-"].iter().any(|prefix| {
        package
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    })
}

/// Finds image and modules among what was unpacked: below `boot` and `lib/modules`, or both below `usr/lib/modules`.
fn describe(dir: &Path, packages: Vec<String>) -> Result<Manifest> {
    for parent in ["lib/modules", "usr/lib/modules"] {
        let Some(modules) = entries(&dir.join(parent))
            .into_iter()
            .find(|path| path.join("modules.builtin").is_file())
        else {
            continue;
        };
        let version = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let places = [dir.join(format!("boot/vmlinuz-{version}")), modules.join("vmlinuz")];
        let Some(image) = places.into_iter().find(|path| path.is_file()) else {
            continue;
        };
        let below = |path: &Path| path.strip_prefix(dir).unwrap_or(path).to_owned();
        return Ok(Manifest { packages, image: below(&image), modules: below(&modules), version });
    }
    bail!(
        "no vmlinuz with its modules.builtin is in {}: they have moved, mend `describe` of xtask/src/vm/kernels.rs",
        packages.join(", ")
    )
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn read_manifest(dir: &Path) -> Option<Manifest> {
    let manifest: Manifest = serde_json::from_slice(&fs::read(dir.join(MANIFEST)).ok()?).ok()?;
    dir.join(&manifest.image).is_file().then_some(manifest)
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, "").expect("a file");
        }
        dir
    }

    #[test]
    fn both_layouts_of_a_package_are_found() {
        let old = tree(&[
            "boot/vmlinuz-6.1.0-9",
            "boot/config-6.1.0-9",
            "lib/modules/6.1.0-9/modules.builtin",
        ]);
        let manifest = describe(old.path(), vec![]).expect("the layout until 6.18");
        assert_eq!(
            (manifest.version.as_str(), manifest.image.as_path()),
            ("6.1.0-9", Path::new("boot/vmlinuz-6.1.0-9"))
        );
        let new = tree(&["usr/lib/modules/7.2.1/vmlinuz", "usr/lib/modules/7.2.1/modules.builtin"]);
        let manifest = describe(new.path(), vec![]).expect("the layout from 6.19");
        assert_eq!(manifest.modules, Path::new("usr/lib/modules/7.2.1"));
        assert_eq!(manifest.image, Path::new("usr/lib/modules/7.2.1/vmlinuz"));
    }

    #[test]
    fn a_package_without_a_kernel_is_named() {
        let dir = tree(&["usr/share/doc/x"]);
        let error = describe(dir.path(), vec!["linux-image-9".into()]).err().expect("no kernel");
        assert!(error.to_string().contains("linux-image-9"), "{error:#}");
    }

    #[test]
    fn a_half_made_cache_counts_as_absent() {
        let dir = tree(&["boot/vmlinuz-1"]);
        assert!(read_manifest(dir.path()).is_none());
        fs::write(
            dir.path().join(MANIFEST),
            r#"{"packages":[],"version":"1","image":"boot/vmlinuz-2","modules":"m"}"#,
        )
        .expect("a file");
        assert!(read_manifest(dir.path()).is_none());
    }

    #[test]
    fn parts_of_a_kernel_are_told_from_what_all_share() {
        assert!(is_part("linux-modules-7.2.12+deb13-cloud-amd64"));
        assert!(!is_part("linux-base"));
        assert!(!is_part("linux-base-sgx"));
    }
}
