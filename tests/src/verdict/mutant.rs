//! Objects that are wrong on purpose.

use std::{env, fs};

/// Names the object file of a program that reads the generation in force twice.
pub const OBJECT_VARIABLE: &str = "NODEWALL_MUTANT_OBJECT";

/// The bytes of that object, or `None` where nothing names one.
///
/// # Panics
/// If it is named and cannot be read.
#[must_use]
pub fn mutant_object() -> Option<Vec<u8>> {
    let path = env::var_os(OBJECT_VARIABLE)?;
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            panic!("{OBJECT_VARIABLE} names {}, which cannot be read: {error}", path.display())
        }
    }
}
