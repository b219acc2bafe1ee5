//! Builds the Go bridge of `benches/bridge`, once a run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::peers::on_path;

/// The program, built by the first call. Go's cache makes that short, but for the first time.
pub(crate) fn program() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|e| format!("{e:#}")))
        .clone()
        .map_err(|e| anyhow!(e))
}

fn build() -> Result<PathBuf> {
    if !on_path(Path::new("go")) {
        bail!("go not found");
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = here.join("target/bench-bridge");
    eprintln!("building the Go bridge");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(here.join("benches/bridge"))
        .output()
        .context("go build")?;
    if !built.status.success() {
        let text = String::from_utf8_lossy(&built.stderr);
        let last = text.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
        bail!("go build: {} {last}", built.status);
    }
    Ok(program)
}
