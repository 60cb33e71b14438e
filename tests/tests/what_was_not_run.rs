//! Runs after the other tests, since cargo runs test programs in alphabetical order, and says which tests did not run,
//! and how to run them.

use anyhow::Result;
use integration_tests::gated::gated;

fn main() -> Result<()> {
    if cfg!(ci) {
        return Ok(());
    }
    let gated = gated()?;
    let mut modules: Vec<_> = gated.keys().map(|(module, _)| module.as_str()).collect();
    modules.dedup();
    println!(
        "Not run: {} tests that need other programs or more than a minute, in {}. All of them: CI=true cargo test --workspace",
        gated.values().sum::<usize>(),
        modules.join(", ")
    );
    Ok(())
}
