//! Builds the instruments and says where their object file is: `env!("INSTRUMENTS_OBJECT")`.

use std::{env, path::Path, path::PathBuf};

use toolchain::{Error, Toolchain};

fn main() {
    if let Err(error) = build() {
        eprintln!("{error}");
        // Cargo shows what the compiler wrote only of a script that fails.
        std::process::exit(1);
    }
}

fn build() -> Result<(), Error> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../filter-ebpf");
    println!("cargo::rerun-if-changed={}", package.display());
    let toolchain = Toolchain::locate()?;
    println!("cargo::rerun-if-changed={}", toolchain.stamp().display());
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let object = toolchain.build_object(&package, "instruments", &[], &out_dir)?;
    println!("cargo::rustc-env=INSTRUMENTS_OBJECT={}", object.display());
    Ok(())
}
