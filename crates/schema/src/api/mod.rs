//! Bodies of the REST interface, shared by server, client commands and tests.
//!
//! JSON is camelCase; times are RFC 3339 UTC with milliseconds; `duration` and `…Ms` are integer milliseconds. Absent fields are
//! left out.

mod execution;
mod journal;
mod problem;
mod request;

pub use self::{
    execution::{
        BudgetState, Compensation, Execution, ExecutionStatus, Progress, StepCompensation, StepResult, WaitingFor,
        WorkflowSummary,
    },
    journal::{Entry, JournalExport, JournalPage, JournalSummary, Level, Pagination},
    problem::{Health, Problem},
    request::{Accepted, CancelAnswer, CancelRequest, ExecuteRequest, Links, RequestContext, SyncResult, Warning},
};
