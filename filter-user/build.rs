//! Builds the kernel side and says where its object file is: `env!("NODEWALL_OBJECT")`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use toolchain::{Error, Toolchain};

/// What the object is made of, besides the toolchain.
const SOURCES: [&str; 4] = ["Cargo.lock", "Cargo.toml", "filter-common", "filter-ebpf"];

fn main() -> ExitCode {
    match build() {
        Ok(object) => {
            println!("cargo::rustc-env=NODEWALL_OBJECT={}", object.display());
            ExitCode::SUCCESS
        }
        // The messages of the compiler are on standard error, which cargo shows only of a script that fails.
        Err(error @ Error::Build { .. }) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        // A script that succeeds and reports an error leaves cargo with this one sentence to show.
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::SUCCESS
        }
    }
}

fn build() -> Result<PathBuf, Error> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.parent().unwrap_or(here);
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", workspace.join(source).display());
    }
    let toolchain = Toolchain::locate()?;
    println!("cargo::rerun-if-changed={}", toolchain.stamp().display());
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    toolchain.build_object(&workspace.join("filter-ebpf"), "nodewall", &[], &out_dir)
}
