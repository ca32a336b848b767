//! Makes the table of shipped agents with the checksums of their files.

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::Path};

use sha2::{Digest as _, Sha256};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("assets/research-agents");
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
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("shipped_agents.rs");
    fs::write(out, table).expect("the table is written");
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut sum, byte| {
        write!(sum, "{byte:02x}").expect("a string takes everything");
        sum
    })
}
