//! STUB
pub fn run() -> anyhow::Result<()> {
    Ok(())
}
