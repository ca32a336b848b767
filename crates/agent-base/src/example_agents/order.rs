//! An order whose parts can be undone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use super::Example;
use crate::{AgentError, AgentRegistry, registry::RegisterError};

#[derive(Deserialize, JsonSchema)]
struct Reserve {
    sku: String,
    #[serde(rename = "quantity")]
    #[expect(dead_code, reason = "part of what is asked")]
    quantity: u64,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    reservation_id: String,
}

#[derive(Serialize, JsonSchema)]
struct Released {
    released: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Amount {
    amount: Number,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Charge {
    charge_id: String,
}

#[derive(Serialize, JsonSchema)]
struct Refunded {
    refunded: bool,
}

#[derive(Deserialize, JsonSchema)]
struct Address {
    address: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Shipment {
    tracking_id: String,
}

pub(super) fn register(registry: &mut AgentRegistry) -> Result<(), RegisterError> {
    registry.register(Example::new("reserve-agent", "Reserves goods", |order: Reserve, _| {
        Ok(Reservation { reservation_id: format!("res-{}", order.sku) })
    }))?;
    registry.register(
        Example::new("release-agent", "Gives reserved goods free", |_: Reservation, _| Ok(Released { released: true }))
            .idempotent(),
    )?;
    registry.register(Example::new("charge-agent", "Charges an amount", |Amount { amount }, _| {
        Ok(Charge { charge_id: format!("chg-{amount}") })
    }))?;
    registry.register(
        Example::new("refund-agent", "Gives a charge back", |Charge { charge_id }, _| {
            if charge_id == "chg-13" {
                return Err(AgentError::denied("the bank refuses to refund `chg-13`"));
            }
            Ok(Refunded { refunded: true })
        })
        .idempotent(),
    )?;
    registry.register(Example::new("ship-agent", "Ships goods to an address", |Address { address }, _| {
        if address.is_empty() {
            return Err(AgentError::validation("`address` is empty").with_context(json!({ "pointer": "/address" })));
        }
        Ok(Shipment { tracking_id: format!("trk-{address}") })
    }))
}
