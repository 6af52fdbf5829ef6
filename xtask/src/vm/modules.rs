//! The modules of an unpacked kernel package: which there are, what each depends on, in what order they load.
//!
//! Debian's packages carry no `modules.dep` (it is made when a package is installed), so the dependencies are read from the
//! `.modinfo` section of each module.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use thiserror::Error;

/// Why a module could not be had.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// Neither among the modules nor built into the kernel.
    #[error(
        "{dir} has no module `{name}`, and it is not built into that kernel either: take it off the list of wanted modules, or pick a kernel that has it"
    )]
    Missing {
        /// The name as it was asked for.
        name: String,
        /// The kernel's module directory.
        dir: PathBuf,
    },
    /// A file or directory of the package could not be read.
    #[error("cannot read {path}: {source}; fetch the kernel anew with --refresh")]
    Read {
        /// What was being read.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file is not a module after decompression.
    #[error(
        "{path} is not an ELF file with a .modinfo section ({why}); fetch the kernel anew with --refresh"
    )]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// What the reader of the format said.
        why: String,
    },
}

/// A module, ready for `insmod`.
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The ELF file, decompressed.
    pub elf: Vec<u8>,
}

/// Where each module of one kernel is.
pub struct ModuleIndex {
    dir: PathBuf,
    files: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
}

impl ModuleIndex {
    /// Looks through `dir`, a kernel's `lib/modules/VERSION`.
    pub fn scan(dir: &Path) -> Result<Self, ModuleError> {
        let mut files = HashMap::new();
        collect(dir, &mut files)?;
        let list = dir.join("modules.builtin");
        let builtin =
            fs::read_to_string(&list).map_err(|source| ModuleError::Read { path: list, source })?;
        let builtin = builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { dir: dir.to_owned(), files, builtin })
    }

    /// The `wanted` modules and all they depend on, each after what it needs. What is built into the kernel is left out.
    pub fn load_order(&self, wanted: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        for name in wanted {
            self.add(&name.replace('-', "_"), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn add(
        &self,
        name: &str,
        seen: &mut HashSet<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), ModuleError> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            return Err(ModuleError::Missing { name: name.to_owned(), dir: self.dir.clone() });
        };
        let elf =
            decompress(path).map_err(|source| ModuleError::Read { path: path.clone(), source })?;
        let needs = dependencies(&elf)
            .map_err(|why| ModuleError::NotAModule { path: path.clone(), why })?;
        for needed in needs {
            self.add(&needed, seen, order)?;
        }
        order.push(Module { name: name.to_owned(), elf });
        Ok(())
    }
}

/// `kernel/drivers/net/veth.ko.xz` is `veth`; what is not a module is none.
fn module_name(path: &Path) -> Option<String> {
    let (stem, extension) = path.file_name()?.to_str()?.split_once(".ko")?;
    matches!(extension, "" | ".xz" | ".zst").then(|| stem.replace('-', "_"))
}

fn collect(dir: &Path, files: &mut HashMap<String, PathBuf>) -> Result<(), ModuleError> {
    let failed = |source| ModuleError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // `build` and `source` are links to headers that are not there: the type of the entry itself, links not followed.
        if entry.file_type().map_err(failed)?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = module_name(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

fn decompress(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    let mut elf = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            lzma_rust2::XzReader::new(bytes.as_slice(), true).read_to_end(&mut elf)?;
        }
        Some("zst") => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice())
                .map_err(io::Error::other)?;
            decoder.read_to_end(&mut elf)?;
        }
        _ => elf = bytes,
    }
    Ok(elf)
}

/// The names behind `depends=` in the module's information, in the module's own order.
fn dependencies(elf: &[u8]) -> Result<Vec<String>, String> {
    let file = object::File::parse(elf).map_err(|error| error.to_string())?;
    let section = file.section_by_name(".modinfo").ok_or("it has no such section")?;
    let information = section.data().map_err(|error| error.to_string())?;
    let depends =
        information.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"depends="));
    let names = String::from_utf8_lossy(depends.unwrap_or_default()).replace('-', "_");
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::write::Object as Writer;
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    fn module(depends: &str) -> Vec<u8> {
        let mut object = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let section = object.add_section(vec![], b".modinfo".to_vec(), SectionKind::ReadOnlyData);
        object.set_section_data(
            section,
            format!("license=GPL\0depends={depends}\0name=x\0").into_bytes(),
            1,
        );
        object.write().expect("a small object")
    }

    /// A kernel's module directory: `8021q` needs `garp` and `mrp`, `garp` needs `stp`, `llc` is built in.
    fn kernel() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let net = dir.path().join("kernel/net");
        fs::create_dir_all(&net).expect("a directory");
        for (name, depends) in [
            ("8021q.ko", "garp,mrp"),
            ("garp.ko", "stp,llc"),
            ("mrp.ko", ""),
            ("stp.ko", "llc"),
            ("sch-x.ko", ""),
        ] {
            fs::write(net.join(name), module(depends)).expect("a file");
        }
        fs::write(dir.path().join("modules.builtin"), "kernel/net/llc/llc.ko\n").expect("a file");
        dir
    }

    fn names(order: &[Module]) -> Vec<&str> {
        order.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn each_module_comes_once_and_after_what_it_needs() {
        let dir = kernel();
        let index = ModuleIndex::scan(dir.path()).expect("a kernel");
        let order = index.load_order(&["8021q", "stp", "sch-x", "llc"]).expect("all there");
        assert_eq!(names(&order), ["stp", "garp", "mrp", "8021q", "sch_x"]);
    }

    #[test]
    fn what_is_neither_module_nor_built_in_is_named() {
        let dir = kernel();
        let index = ModuleIndex::scan(dir.path()).expect("a kernel");
        let error = index.load_order(&["veth"]).err().expect("not there");
        assert!(matches!(&error, ModuleError::Missing { name, .. } if name == "veth"), "{error}");
    }

    #[test]
    fn what_is_not_a_module_is_told_by_its_file() {
        let dir = kernel();
        fs::write(dir.path().join("kernel/veth.ko"), b"text").expect("a file");
        let index = ModuleIndex::scan(dir.path()).expect("a kernel");
        let error = index.load_order(&["veth"]).err().expect("not a module");
        assert!(
            matches!(&error, ModuleError::NotAModule { path, .. } if path.ends_with("kernel/veth.ko")),
            "{error}"
        );
    }

    #[test]
    fn compressed_names_are_names_of_modules() {
        assert_eq!(module_name(Path::new("a/sch-ingress.ko.xz")).as_deref(), Some("sch_ingress"));
        assert_eq!(module_name(Path::new("veth.ko.zst")).as_deref(), Some("veth"));
        assert_eq!(module_name(Path::new("modules.builtin")), None);
    }
}
