//! Tests that need other programs, or more than a minute, are ignored unless `CI` is set: see `src/gated.rs`.

fn main() {
    println!("cargo::rerun-if-env-changed=CI");
    println!("cargo::rustc-check-cfg=cfg(ci)");
    if std::env::var_os("CI").is_some() {
        println!("cargo::rustc-cfg=ci");
    }
}
