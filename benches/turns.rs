//! What an agent that asks a model adds to its turns: time, beside the same requests sent by hand to the same server, and memory, while many
//! conversations are at their last turn. The server speaks Anthropic's messages on this machine and answers at once, with a call of a tool until
//! the last turn.
//!
//! `cargo bench -p benches --bench turns`

use std::{
    alloc::System,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use benches::measured::workflow;
use orchestr8_agent_base::{
    AgentRegistry, ToolSpec, llm,
    model::{Anthropic, ApiKey, Models},
    prompt::PromptFiles,
    tool::tool_fn,
};
use orchestr8_core::Engine;
use orchestr8_schema::ValidWorkflow;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    sync::Semaphore,
    time::Instant,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The questions of one conversation.
const TURNS: usize = 10;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A provider that answers at once.
#[derive(Clone)]
struct Server {
    /// Answers of last turns wait for a permit.
    last: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// The bytes of what was asked in the turns that wait.
    payload: Arc<AtomicUsize>,
    /// What was asked, where it is kept.
    asked: Option<Arc<Mutex<Vec<Vec<u8>>>>>,
}

impl Server {
    fn new(permits: usize, keeps: bool) -> Self {
        let asked = keeps.then(Arc::default);
        Self { last: Arc::new(Semaphore::new(permits)), waiting: Arc::default(), payload: Arc::default(), asked }
    }

    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().converse(stream));
            }
        });
        url
    }

    async fn converse(self, mut stream: TcpStream) {
        stream.set_nodelay(true).expect("a socket");
        let mut buffer = Vec::new();
        while let Some(body) = read(&mut stream, &mut buffer).await {
            // Each turn adds one answer of a tool.
            let turn = 1 + count(&body, b"\"tool_result\"");
            let length = body.len();
            if let Some(asked) = &self.asked {
                asked.lock().expect("nobody panicked").push(body);
            } else {
                drop(body);
            }
            if turn >= TURNS {
                self.payload.fetch_add(length, Ordering::SeqCst);
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.last.acquire().await.expect("it is not closed").forget();
            }
            if stream.write_all(answer(turn).as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// Reads one request, and returns its body.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            let whole = end + 4 + length.unwrap_or(0_usize);
            while buffer.len() < whole {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            let body = buffer[end + 4..whole].to_vec();
            buffer.drain(..whole);
            return Some(body);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

fn answer(turn: usize) -> String {
    let (content, stop) = if turn >= TURNS {
        (json!([{ "type": "text", "text": "That is all." }]), "end_turn")
    } else {
        let call =
            json!({ "type": "tool_use", "id": format!("call_{turn}"), "name": "echo", "input": { "said": turn } });
        (json!([call]), "tool_use")
    };
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": stop, "usage": { "input_tokens": 10, "output_tokens": 10 }
    })
    .to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn engine(url: &str) -> Engine {
    let mut registry = AgentRegistry::new();
    llm::register(&mut registry, PromptFiles::default()).expect("registered");
    let echo = ToolSpec::new("echo", "Says it again").expect("well formed");
    let echo = tool_fn(echo, |arguments: Value, _, _| async move { Ok(arguments) });
    registry.tools_mut().register(echo).expect("registered");
    let provider = Anthropic::new(url, ApiKey::none()).expect("a provider");
    let models = Models::new().provider("house", "anthropic", provider).default_model("m");
    Engine::builder().registry(registry).models(models).max_concurrent_steps(1000).build().expect("an engine")
}

fn conversation() -> ValidWorkflow {
    let config = json!({
        "prompt": { "role": "You answer with the help of tools.", "task": "{{ input.question }}" },
        "tools": ["echo"], "maxTurns": TURNS,
    });
    workflow(&json!({
        "version": "1.0.0",
        "metadata": { "id": "bench", "name": "Bench" },
        "steps": [{ "id": "ask", "agent": { "id": "@orchestr8/llm", "config": config }, "input": { "question": "What is there to say?" } }]
    }))
}

async fn execute(engine: &Engine, workflow: &ValidWorkflow) {
    let execution = engine.start(workflow, json!({})).await.expect("it starts");
    let outcome = execution.outcome().await.expect("it ends");
    assert!(outcome.is_completed(), "{:?}", outcome.error());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// How long a turn takes, and how long the same request does that is sent by hand.
async fn time(conversations: usize) {
    let keeping = Server::new(1, true);
    execute(&engine(&keeping.listen().await), &conversation()).await;
    let asked = keeping.asked.as_ref().expect("it keeps them").lock().expect("nobody panicked").clone();
    assert_eq!(asked.len(), TURNS, "a conversation has another length");

    let server = Server::new(Semaphore::MAX_PERMITS, false);
    let url = server.listen().await;
    let (engine, workflow) = (engine(&url), conversation());
    let client = reqwest::Client::new();
    let (mut turns, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..conversations {
        let began = Instant::now();
        execute(&engine, &workflow).await;
        turns.push(began.elapsed());
        let began = Instant::now();
        for body in &asked {
            let request = client.post(format!("{url}/v1/messages")).header("content-type", "application/json");
            let response = request.body(body.clone()).send().await.expect("it answers");
            let answer: Value = response.json().await.expect("JSON");
            assert!(answer["content"].is_array());
        }
        bare.push(began.elapsed());
    }
    let each = |times: Vec<Duration>| median(times).as_secs_f64() * 1e6 / TURNS as f64;
    let (turn, request) = (each(turns), each(bare));
    println!("{conversations} conversations of {TURNS} turns, one after another, medians of a turn:");
    println!(
        "  with its tool: {turn:.0} µs; the request by hand: {request:.0} µs; so {:.0} µs are ours",
        turn - request
    );
}

/// What conversations hold that are at their last turn all at once.
async fn hold(agents: usize) {
    let server = Server::new(1, false);
    let (engine, workflow) = (engine(&server.listen().await), conversation());
    // What the first one brings along belongs to the engine.
    execute(&engine, &workflow).await;
    server.payload.store(0, Ordering::SeqCst);
    server.waiting.store(0, Ordering::SeqCst);

    let in_use = |stats: &Stats| stats.bytes_allocated as isize - stats.bytes_deallocated as isize;
    let region = Region::new(ALLOCATOR);
    let mut handles = Vec::with_capacity(agents);
    for _ in 0..agents {
        handles.push(engine.start(&workflow, json!({})).await.expect("it starts"));
    }
    while server.waiting.load(Ordering::SeqCst) < agents {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (held, payload) = (in_use(&region.change()), server.payload.load(Ordering::SeqCst));
    let megabytes = |bytes: f64| bytes / 1e6;
    println!(
        "{agents} agents in turn {TURNS} hold {:.2} MB, {:.2} MB over their conversations, connections and journals included",
        megabytes(held as f64),
        megabytes(held as f64 - payload as f64)
    );
    server.last.add_permits(agents);
    for handle in &handles {
        assert!(handle.outcome().await.expect("it ends").is_completed());
    }
}

fn main() {
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (conversations, agents) = if is_measured { (300, 64) } else { (1, 2) };
    runtime().block_on(time(conversations));
    runtime().block_on(hold(agents));
}
