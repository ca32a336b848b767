//! The stores keep the contract.

mod memory {
    use orchestr8_core::MemoryStore;

    orchestr8_testing::store_conformance!(|| ((), MemoryStore::new()));
}
