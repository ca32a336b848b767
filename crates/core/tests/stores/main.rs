//! The stores keep the contract.

#[cfg(feature = "sqlite")]
mod sqlite;

mod memory {
    use orchestr8_core::MemoryStore;

    orchestr8_testing::store_conformance!(|| ((), MemoryStore::new()));
}
