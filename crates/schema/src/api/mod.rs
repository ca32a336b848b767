//! Bodies of the REST interface, shared by server, client commands and tests.
//!
//! JSON is camelCase; times are RFC 3339 UTC with milliseconds; `duration` and `…Ms` are integer milliseconds. Absent fields are
//! left out.

mod control;
mod envelope;
mod execution;
mod fork;
mod journal;
mod list;
mod problem;
mod request;
mod stats;
mod validation;
mod why;
mod workflow;

pub use self::{
    control::{
        ApprovalRequest, ApprovalResult, Decision, PauseAnswer, PauseRequest, Rerun, ResumeAnswer, ResumeRequest,
        SignalAnswer, SignalRequest,
    },
    envelope::{
        Envelope, EnvelopeCode, EnvelopeCost, EnvelopeData, EnvelopeError, EnvelopeMeta, EnvelopeRateLimit,
        EnvelopeStatus,
    },
    execution::{
        BudgetState, Compensation, Execution, ExecutionStatus, ExecutionUsage, Progress, StepCompensation, StepResult,
        StepStatus, WaitingFor, WorkflowSummary,
    },
    fork::{ForkAnswer, ForkBody, NotRetained},
    journal::{Entry, JournalExport, JournalPage, JournalSummary, Level, Pagination, StepProgress, Truncated},
    list::{Approval, ApprovalList, AttemptRecord, ExecutionList, ExecutionSummary, StepDetail, StepList},
    problem::{Health, Problem},
    request::{Accepted, CancelAnswer, CancelRequest, ExecuteRequest, Links, RequestContext, SyncResult, Warning},
    stats::{
        AgentStats, CircuitStats, ErrorStats, EventStats, ExecutionStats, Percentiles, RecentError, Stats, SystemStats,
    },
    validation::{Validation, WorkflowStats},
    why::{Cause, Why},
    workflow::{UnusableFile, WorkflowDetail, WorkflowEntry, WorkflowList},
};
