//! Makes the table of shipped agents with the checksums of their files, and that of shipped examples.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use sha2::{Digest as _, Sha256};

fn main() {
    let assets = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("assets");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("shipped_agents.rs"), agents(&assets.join("research-agents")))
        .expect("the table is written");
    fs::write(Path::new(&out).join("shipped_examples.rs"), examples(&assets.join("examples")))
        .expect("the table is written");
}

/// The workflows of the project's folder `examples/workflows` and their tests; `assets/examples` is a link to it.
fn examples(folder: &Path) -> String {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder).expect("the folder is there");
    let files = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension != "md")).collect();
    files.sort();
    let mut table = String::from("const SHIPPED: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.file_name().and_then(|name| name.to_str()).expect("the name is UTF-8");
        writeln!(table, "    ({name:?}, include_str!({file:?})),").expect("a string takes everything");
    }
    table.push_str("];\n");
    table
}

fn agents(folder: &Path) -> String {
    println!("cargo::rerun-if-changed={}", folder.display());
    let servers = fs::read_to_string(folder.join("servers.json")).expect("servers.json is there");
    let servers: BTreeMap<String, serde_json::Value> = serde_json::from_str(&servers).expect("servers.json is JSON");
    let mut table = String::from("const SHIPPED: &[ShippedAgent] = &[\n");
    for (name, server) in servers {
        let files = [format!("{name}.md"), format!("{name}-prompts.xml")].map(|file| folder.join(file));
        let sums = files.each_ref().map(|file| sum(&fs::read(file).expect("the file is there")));
        let [agent, prompts] = files;
        writeln!(
            table,
            "    ShippedAgent {{ name: {name:?}, agent: include_bytes!({agent:?}), prompts: include_bytes!({prompts:?}), \
             sums: {sums:?}, server: {:?} }},",
            server.to_string()
        )
        .expect("a string takes everything");
    }
    table.push_str("];\n");
    table
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut sum, byte| {
        write!(sum, "{byte:02x}").expect("a string takes everything");
        sum
    })
}
