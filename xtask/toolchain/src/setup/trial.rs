//! A trial of `core` and a linker: a small program is compiled and linked as the kernel side will be.

use std::fs;
use std::path::Path;

use super::SetUpError;
use super::run::logged;
use crate::files::failed;
use crate::{TARGET, Toolchain, environment};

/// An XDP program that reads a word of the packet.
const PROGRAM: &str = include_str!("trial/program.rs");

/// The machine number of BPF in the header of an ELF file (`EM_BPF`, elf.h), and where it stands there.
const EM_BPF: [u8; 2] = [247, 0];
const E_MACHINE: usize = 18;

/// The compiler's and linker's messages. In the toolchain's directory, so that they are still there after a failure.
pub const LOG: &str = "trial.log";

const STEP: &str = "linking a small program";

/// Says what is wrong with `linker`, if anything.
pub fn try_out(toolchain: &Toolchain, linker: &Path, work: &Path) -> Result<(), SetUpError> {
    let source = work.join("program.rs");
    fs::write(&source, PROGRAM).map_err(failed("write", &source))?;
    let object = work.join("program.o");
    let compiler = toolchain.compiler();
    let mut command = environment::program(compiler, compiler.rustc());
    command
        .args(["--edition", "2024", "--crate-type", "bin", "--target", TARGET])
        .args(["-Copt-level=3", "-Clto=fat", "-Cpanic=abort", "-Cdebuginfo=2"])
        .args(toolchain.rustflags(linker))
        .arg("-o")
        .arg(&object)
        .arg(&source)
        .current_dir(work);
    logged(STEP, &mut command, &toolchain.dir.join(LOG))?;
    let bytes = fs::read(&object).map_err(failed("read", &object))?;
    if is_bpf_with_types(&bytes) {
        return Ok(());
    }
    Err(SetUpError::NotBpf { step: STEP, object })
}

fn is_bpf_with_types(object: &[u8]) -> bool {
    object.starts_with(b"\x7fELF")
        && object.get(E_MACHINE..E_MACHINE + 2) == Some(&EM_BPF)
        // The name of the section, in the table of names.
        && object.windows(6).any(|name| name == b"\0.BTF\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_for_bpf_with_types_will_do() {
        let mut object = b"\x7fELF\x02\x01\x01".to_vec();
        object.resize(64, 0);
        assert!(!is_bpf_with_types(&object));
        object[E_MACHINE] = 247;
        assert!(!is_bpf_with_types(&object));
        object.extend(b".symtab\0.BTF\0.BTF.ext\0");
        assert!(is_bpf_with_types(&object));
        object[E_MACHINE] = 62;
        assert!(!is_bpf_with_types(&object));
        assert!(!is_bpf_with_types(b""));
    }
}
