//! Rate limits: rows 44 to 48 of the table in the resilience specification, section 9, and what becomes of permits.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it by panicking")]

mod support;

use std::{
    collections::{HashMap, VecDeque},
    future::{pending, ready},
    time::Duration,
};

use orchestr8_resilience::{
    Bucket, BucketRegistry, BulkheadLayer, BulkheadPolicy, Circuit, CircuitBreakerLayer, CircuitBreakerPolicy, Class,
    Classify, Compartment, Counts, RateLimitLayer, RateLimitPolicy, RetryLayer, RetryPolicy, Stack,
    rate_limit::{Rates, Refusal, Weigh},
};
use proptest::prelude::*;
use support::{Answer, Failure, Log, scripted};
use tokio::{
    runtime::Builder,
    task::JoinHandle,
    time::{Instant, advance, sleep, timeout},
};
use tower::{Layer, Service, service_fn};

/// A request is what it is estimated to weigh and what it turns out to; the answer is when it came, and the latter.
#[derive(Clone, Copy)]
struct Weight;

type Request = (u64, Option<u64>);
type Response = (Instant, Option<u64>);

impl Weigh<Request, Response> for Weight {
    fn estimate(&self, request: &Request) -> u64 {
        request.0
    }

    fn used(&self, response: &Response) -> Option<u64> {
        response.1
    }
}

fn policy(requests: Option<u32>, weight: Option<u32>, max_wait: f64) -> RateLimitPolicy {
    let rates = Rates::try_new(requests, weight).unwrap();
    RateLimitPolicy::new(rates).max_wait(Duration::from_secs_f64(max_wait)).unwrap()
}

/// A call of a service that answers at once, in a task of its own.
fn call(bucket: &Bucket, policy: RateLimitPolicy, request: Request) -> JoinHandle<Result<Response, Failure>> {
    let service = service_fn(|(_, used): Request| ready(Ok::<_, Failure>((Instant::now(), used))));
    let layer = RateLimitLayer::new(bucket.clone(), policy).weigh(Weight);
    tokio::spawn(layer.layer(service).call(request))
}

/// When attempts reach the service that are made at once, or why they do not.
async fn at_once(policy: RateLimitPolicy, requests: &[Request]) -> Vec<Result<f64, Failure>> {
    let start = Instant::now();
    let bucket = Bucket::new("key", policy.rates());
    let calls: Vec<_> = requests.iter().map(|request| call(&bucket, policy, *request)).collect();
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap().map(|(at, _)| (at - start).as_secs_f64()));
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn row_44_requests_beyond_the_rate_wait() {
    let ends = at_once(policy(Some(60), None, 30.0), &[(0, None); 61]).await;
    assert_eq!(ends[..60], vec![Ok(0.0); 60]);
    assert_eq!(ends[60], Ok(1.0));
}

#[tokio::test(start_paused = true)]
async fn row_45_too_long_a_wait_is_refused_at_once() {
    let start = Instant::now();
    let ends = at_once(policy(Some(60), None, 0.5), &[(0, None); 61]).await;
    assert_eq!(ends[..60], vec![Ok(0.0); 60]);
    let refused = ends[60].clone().unwrap_err();
    assert_eq!((refused.classify(), refused.retry_after()), (Class::RateLimited, Some(Duration::from_secs(1))));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn row_46_weight_is_waited_for() {
    assert_eq!(at_once(policy(None, Some(6000), 30.0), &[(4000, None); 2]).await, [Ok(0.0), Ok(20.0)]);
}

#[tokio::test(start_paused = true)]
async fn row_47_what_was_estimated_too_much_is_given_back() {
    let ends = at_once(policy(None, Some(6000), 30.0), &[(4000, Some(1000)), (4000, None)]).await;
    assert_eq!(ends, [Ok(0.0), Ok(0.0)]);
}

#[tokio::test(start_paused = true)]
async fn row_48_what_never_fits_is_not_retried() {
    let ends = at_once(policy(None, Some(6000), 30.0), &[(7000, None)]).await;
    let Err(Failure::Limited(limited)) = &ends[0] else { panic!("{ends:?}") };
    assert_eq!(limited.refusal(), Refusal::TooHeavy { weight: 7000, capacity: 6000 });
    assert_eq!((limited.class(), limited.retry_after()), (Class::Permanent, None));
}

#[tokio::test(start_paused = true)]
async fn a_correction_may_leave_debt_and_a_reset_forgives_it() {
    let limits = policy(None, Some(6000), 120.0);
    let bucket = Bucket::new("key", limits.rates());
    call(&bucket, limits, (1000, Some(9000))).await.unwrap().unwrap();
    assert_eq!(bucket.state().weight, Some(-3000));

    let start = Instant::now();
    let waits = call(&bucket, limits, (1000, None));
    sleep(Duration::from_secs(5)).await;
    bucket.reset();
    assert_eq!(waits.await.unwrap().unwrap().0 - start, Duration::from_secs(5));
    assert_eq!(bucket.state().weight, Some(5000));

    // What nobody can have used does not block the bucket for longer than an hour.
    bucket.correct(0, u64::MAX);
    advance(Duration::from_secs(61 * 60)).await;
    assert_eq!(bucket.state().weight, Some(6000));
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_took_can_be_given_back_once_it_is_taken_back() {
    let policy = policy(Some(60), Some(6000), 30.0);
    let bucket = Bucket::new("key", policy.rates());
    let layer = RateLimitLayer::new(bucket.clone(), policy).weigh(4000_u64);
    let mut service = layer.layer(service_fn(|()| pending::<Result<(), Failure>>()));
    assert!(timeout(Duration::ZERO, service.call(())).await.is_err());
    let left = || (bucket.state().requests, bucket.state().weight);
    assert_eq!(left(), (Some(59), Some(2000)), "an attempt that is dropped has been made");

    bucket.give_back(4000);
    assert_eq!(left(), (Some(60), Some(6000)));
    bucket.give_back(4000);
    assert_eq!(left(), (Some(60), Some(6000)), "full is full");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_order_and_leaves_without_a_trace() {
    let start = Instant::now();
    let limits = policy(Some(60), Some(6000), 120.0);
    let bucket = Bucket::new("key", limits.rates());
    call(&bucket, limits, (6000, None)).await.unwrap().unwrap();
    let calls = [3000, 6000, 10].map(|weight| call(&bucket, limits, (weight, None)));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bucket.state().waiting, 3);

    // Without the heavy one in the middle the light one need not wait for it.
    calls[1].abort();
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.ok().map(|end| (end.unwrap().0 - start).as_secs_f64()));
    }
    assert_eq!(ends, [Some(30.0), None, Some(30.1)]);
    assert_eq!((bucket.state().weight, bucket.state().waiting), (Some(0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_polled_any_more_holds_up_nobody_for_longer_than_its_turn() {
    let limits = policy(Some(60), None, 120.0);
    let bucket = Bucket::new("key", limits.rates());
    for _ in 0..60 {
        call(&bucket, limits, (0, None)).await.unwrap().unwrap();
    }
    let service = service_fn(|_: Request| ready(Ok::<Response, Failure>((Instant::now(), None))));
    let mut stuck = Box::pin(RateLimitLayer::new(bucket.clone(), limits).layer(service).call((0, None)));
    assert!(poll_once(&mut stuck).is_pending());

    let start = Instant::now();
    let (at, _) = call(&bucket, limits, (0, None)).await.unwrap().unwrap();
    assert_eq!(at - start, Duration::from_secs(2));
    // Its permit was kept for it, and comes back if it is not used.
    drop(stuck);
    assert_eq!(bucket.state().requests, Some(1));
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> std::task::Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_rejected_further_in_uses_no_permit() {
    let limits = policy(Some(60), None, 30.0);
    let breaker = CircuitBreakerPolicy::try_new(1, Duration::from_secs(60)).unwrap();
    let bucket = Bucket::new("key", limits.rates());
    let (circuit, (service, calls)) = (Circuit::new("key"), scripted(&[Answer::RETRYABLE]));
    let stack = Stack::new()
        .rate_limit(RateLimitLayer::new(bucket.clone(), limits))
        .circuit_breaker(CircuitBreakerLayer::new(circuit, breaker));
    let mut service = stack.layer(service);
    service.call(()).await.unwrap_err();
    assert_eq!(bucket.state().requests, Some(59));

    let rejected = service.call(()).await;

    assert!(matches!(rejected, Err(Failure::Rejected(_))));
    assert_eq!((bucket.state().requests, calls.borrow().len()), (Some(59), 1));

    let one = BulkheadPolicy::try_new(1).unwrap().max_queue(0).unwrap();
    let full = BulkheadLayer::new(Compartment::new("full", &one), one);
    let stack = Stack::new().rate_limit(RateLimitLayer::new(bucket.clone(), limits)).bulkhead(full);
    let mut service = stack.layer(service_fn(|()| pending::<Result<(), Failure>>()));
    let mut running = Box::pin(service.call(()));
    assert!(poll_once(&mut running).is_pending());
    assert!(matches!(service.call(()).await, Err(Failure::Full(_))));
    assert_eq!(bucket.state().requests, Some(58));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_whom_an_open_circuit_would_reject() {
    let log = Log::default();
    let limits = policy(Some(1), None, 120.0);
    let breaker = CircuitBreakerPolicy::try_new(1, Duration::from_secs(3600)).unwrap();
    let circuit = Circuit::new("circuit");
    let (service, _) = scripted(&[Answer::RETRYABLE]);
    let stack = Stack::new()
        .rate_limit(
            RateLimitLayer::new(Bucket::new("key", limits.rates()), limits).unless_open(circuit.clone()).observer(&log),
        )
        .circuit_breaker(CircuitBreakerLayer::new(circuit, breaker));
    let mut service = stack.layer(service);
    service.call(()).await.unwrap_err();

    let start = Instant::now();
    assert!(matches!(service.call(()).await, Err(Failure::Rejected(_))));
    assert_eq!((start.elapsed(), log.lines()), (Duration::ZERO, vec!["circuit rejected".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_retried_when_it_says_and_uses_up_a_try() {
    let log = Log::default();
    let counts = Counts::new("key");
    let limits = policy(Some(1), None, 0.0);
    let bucket = Bucket::new("key", limits.rates());
    let (service, calls) = scripted(&[Answer::Success]);
    let stack = Stack::new()
        .retry(RetryLayer::new(RetryPolicy::default(), 1).observer((&log, &counts)))
        .rate_limit(RateLimitLayer::new(bucket, limits).observer((&log, &counts)));
    let mut service = stack.layer(service);
    service.call(()).await.unwrap();
    service.call(()).await.unwrap();

    assert_eq!(calls.borrow()[1] - calls.borrow()[0], Duration::from_secs(60));
    let counted = counts.counted();
    assert_eq!((counted.successes, counted.failures, counted.retries, counted.rejections), (2, 0, 1, 1));
    assert_eq!((counted.in_backoff, counted.in_rate_limit), (Duration::from_secs(60), Duration::ZERO));
    let refused =
        "refused by rate-limit after 0ns: Limited(RateLimited { key: \"key\", refusal: TooLong { retry_after: 60s } })";
    let expected = [
        "attempt 1",
        "succeeded, attempts 1",
        "attempt 1",
        refused,
        "retry 2 in 60s after RateLimited",
        "attempt 2",
        "succeeded, attempts 1",
    ];
    assert_eq!(log.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_beyond_the_deadline_does_not_wait_and_takes_nothing() {
    let limits = policy(Some(1), None, 90.0);
    let bucket = Bucket::new("key", limits.rates());
    let before = |seconds| {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let layer = RateLimitLayer::new(bucket.clone(), limits).deadline(Some(deadline));
        layer.layer(service_fn(|()| ready(Ok::<_, Failure>(Instant::now())))).call(())
    };
    let start = before(1).await.unwrap();
    let late = before(60).await.unwrap_err();
    assert!(matches!(late, Failure::Limited(limited) if matches!(limited.refusal(), Refusal::TooLate { .. })));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(before(61).await.unwrap() - start, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn buckets_are_shared_by_key_and_idle_ones_evicted() {
    let rates = Rates::try_new(Some(60), None).unwrap();
    let buckets = BucketRegistry::with_capacity(2).unwrap();
    let layer = RateLimitLayer::keyed(buckets.clone(), RateLimitPolicy::new(rates), |key: &&'static str| *key);
    let mut service = layer.layer(service_fn(|_: &str| ready(Ok::<_, Failure>(()))));
    for key in ["used", "idle"] {
        service.call(key).await.unwrap();
    }
    buckets.reset("idle");
    assert!(!buckets.reset("nobody"));
    service.call("new").await.unwrap();

    let keys: Vec<_> = buckets.states().into_iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["new", "used"]);
    assert_eq!(buckets.state("used").unwrap().requests, Some(59));
    buckets.reset_all();
    assert_eq!(buckets.state("used").unwrap().requests, Some(60));

    // Another rate holds from now on; what was there stays, up to what there is room for.
    let slower = Rates::try_new(Some(6), None).unwrap();
    assert_eq!(buckets.bucket("used", slower).state().requests, Some(6));
    assert_eq!(BucketRegistry::with_capacity(0).unwrap_err().field(), "capacity");
}

#[tokio::test(start_paused = true)]
async fn waits_are_observed() {
    let log = Log::default();
    let limits = policy(Some(60), None, 30.0);
    let (service, _) = scripted(&[Answer::Success]);
    let mut service = RateLimitLayer::new(Bucket::new("key", limits.rates()), limits).observer(&log).layer(service);
    for _ in 0..61 {
        service.call(()).await.unwrap();
    }
    assert_eq!(log.lines(), ["waited 1s for rate-limit key"]);
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Call { weight: u64, used: Option<u64> },
    Drop(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..20_000_u64).prop_map(Step::Wait),
        6 => (0..130_u64, prop::option::of(0..200_u64)).prop_map(|(weight, used)| Step::Call { weight, used }),
        3 => (0..20_usize).prop_map(Step::Drop),
    ]
}

/// With these whatever is waited for comes at a whole millisecond.
const RATES: &[u32] = &[1, 2, 3, 5, 8, 15, 24, 60, 100, 125, 150];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bucket does what a simulation does that goes on in steps of a millisecond, holds a full list of who waits, and
    /// serves its head as soon as both are there.
    #[test]
    fn a_bucket_does_what_the_specification_says(
        requests in prop::option::of(prop::sample::select(RATES)),
        weight in prop::sample::select(RATES),
        max_wait in 0..90_u64,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let limits = policy(requests, Some(weight), max_wait as f64);
            let bucket = Bucket::new("key", limits.rates());
            let mut model = Model::new(requests, weight);
            let mut calls: Vec<(Option<JoinHandle<_>>, Request)> = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(millis) => {
                        model.advance(millis);
                        sleep(Duration::from_millis(millis)).await;
                    }
                    Step::Call { weight, used } => {
                        model.call(calls.len(), (weight, used), max_wait * 1000);
                        calls.push((Some(call(&bucket, limits, (weight, used))), (weight, used)));
                    }
                    Step::Drop(which) => {
                        if let Some((call, _)) = calls.get_mut(which)
                            && let Some(call) = call.take_if(|call| !call.is_finished())
                        {
                            call.abort();
                            model.leave(which);
                        }
                    }
                }
                // Tasks have their turn before the clock moves on.
                sleep(Duration::ZERO).await;
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                prop_assert_eq!(bucket.state().waiting, model.queue.len());
            }
            for (number, (call, _)) in calls.into_iter().enumerate() {
                let Some(call) = call else { continue };
                let Ok(ended) = timeout(Duration::from_secs(3600), call).await else { panic!("never served") };
                model.advance((start.elapsed().as_millis() as u64).saturating_sub(model.now));
                let ended = ended.unwrap().map(|(at, _)| (at - start).as_millis() as u64).ok();
                prop_assert_eq!(ended, model.served.get(&number).copied());
            }
            Ok(())
        })?;
    }
}

/// In units of one sixty-thousandth, so that a millisecond refills by the rate per minute.
struct Model {
    now: u64,
    requests: Option<(i64, i64)>,
    weight: (i64, i64),
    queue: Vec<(usize, Request)>,
    served: HashMap<usize, u64>,
}

impl Model {
    const ONE: i64 = 60_000;

    fn new(requests: Option<u32>, weight: u32) -> Self {
        let full = |rate: u32| (i64::from(rate) * Self::ONE, i64::from(rate));
        Self {
            now: 0,
            requests: requests.map(full),
            weight: full(weight),
            queue: Vec::new(),
            served: Default::default(),
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        let refill = |(level, rate): &mut (i64, i64)| *level = (*level + *rate).min(*rate * Self::ONE);
        refill(&mut self.weight);
        self.requests.iter_mut().for_each(refill);
        self.serve();
    }

    /// Attempts that are served at once report what they used one after the other, and each report may serve others.
    fn serve(&mut self) {
        let mut reports = VecDeque::new();
        loop {
            while let Some(&(number, (weight, used))) = self.queue.first()
                && self.weight.0 >= weight as i64 * Self::ONE
                && self.requests.is_none_or(|(level, _)| level >= Self::ONE)
            {
                self.weight.0 -= weight as i64 * Self::ONE;
                if let Some((level, _)) = &mut self.requests {
                    *level -= Self::ONE;
                }
                self.queue.remove(0);
                self.served.insert(number, self.now);
                reports.extend(used.map(|used| weight as i64 - used as i64));
            }
            let Some(report) = reports.pop_front() else { return };
            self.weight.0 = (self.weight.0 + report * Self::ONE).min(self.weight.1 * Self::ONE);
        }
    }

    fn advance(&mut self, millis: u64) {
        (0..millis).for_each(|_| self.tick());
    }

    fn call(&mut self, number: usize, request: Request, max_wait: u64) {
        if request.0 as i64 > self.weight.1 {
            return;
        }
        // Would it be served in time, if nobody corrected anything?
        let mut ahead = self.queue.clone();
        ahead.push((number, request));
        let ahead = ahead.into_iter().map(|(number, (weight, _))| (number, (weight, None))).collect();
        let mut trial = Model { queue: ahead, served: Default::default(), ..*self };
        trial.serve();
        trial.advance(max_wait);
        if trial.served.contains_key(&number) {
            self.queue.push((number, request));
            self.serve();
        }
    }

    fn leave(&mut self, number: usize) {
        self.queue.retain(|(queued, _)| *queued != number);
        self.serve();
    }
}
