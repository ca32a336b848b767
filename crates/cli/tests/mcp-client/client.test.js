// What orchestr8 offers over the Model Context Protocol, asked for by the client of the protocol's authors: over standard input and output,
// and over HTTP. `ORCHESTR8_PROGRAM` names the built program.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'

import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

const program = process.env.ORCHESTR8_PROGRAM
assert.ok(program, 'ORCHESTR8_PROGRAM names the built program')

const GREET = `
version: 1.0.0
metadata: { id: greet, name: Greet }
inputs: { type: object, properties: { name: { type: string } }, required: [name], additionalProperties: false }
steps:
  - { id: hello, agent: { id: "@orchestr8/hello-world" }, input: { name: "\${inputs.name}" } }
outputs: { text: "\${steps.hello.output.result}" }
`
const GATE = `
version: 1.0.0
metadata: { id: gate, name: Gate }
steps: [{ id: publish, approval: { prompt: "Publish?" } }]
`
const TOKEN = 'a-token-of-thirty-two-characters-or-more'

let folder
let server
let url

before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'orchestr8-mcp-'))
    writeFileSync(join(folder, 'greet.yaml'), GREET)
    writeFileSync(join(folder, 'gate.yaml'), GATE)
    const env = { ...process.env, ORCHESTR8_HOME: join(folder, 'served'), ORCHESTR8_MCP_ENABLED: 'true', ORCHESTR8_TOKEN: TOKEN }
    server = spawn(program, ['server', '--port', '0', '--workflows', folder], { env, stdio: ['ignore', 'pipe', 'ignore'] })
    for await (const line of createInterface({ input: server.stdout })) {
        url = /Listening on (\S+)/.exec(line)?.[1]
        if (url) break
    }
    assert.ok(url, 'the server says where it listens')
})

after(() => {
    server?.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
})

// Connects, asks, and closes.
async function asking(transport, ask) {
    const client = new Client({ name: 'official', version: '1.0.0' })
    await client.connect(transport)
    try {
        await ask(client)
    } finally {
        await client.close()
    }
}

// Everything that a client does. That results fit the schemas of their tools is checked by the client, which has listed them.
async function converse(client) {
    assert.equal(client.getServerVersion().name, 'orchestr8')
    const { tools } = await client.listTools()
    assert.deepEqual(tools.map((tool) => tool.name),
        ['run_workflow', 'get_status', 'cancel_workflow', 'workflow_gate', 'workflow_greet'])

    const progress = []
    const greeted = await client.callTool({ name: 'workflow_greet', arguments: { name: 'Ada', waitForMs: 10000 } }, undefined,
        { onprogress: (told) => progress.push(told.progress) })
    assert.equal(greeted.structuredContent.status, 'ok', JSON.stringify(greeted))
    assert.match(greeted.structuredContent.data.outputs.text, /^Hello, Ada!/)
    assert.deepEqual(JSON.parse(greeted.content[0].text), greeted.structuredContent)
    assert.ok(progress.length > 0, 'it was told how far it has come')

    const refused = await client.callTool({ name: 'workflow_greet', arguments: { name: 7 } })
    assert.equal(refused.isError, true)
    assert.equal(refused.structuredContent.error.code, 'INVALID_INPUT')
    await assert.rejects(client.callTool({ name: 'nothing', arguments: {} }), (error) => error.code === -32602)

    const started = await client.callTool({ name: 'run_workflow', arguments: { workflowId: 'gate' } })
    const { executionId } = started.structuredContent
    assert.equal(started.structuredContent.status, 'running')
    // A call that is not waited for any more ends; the execution does not.
    const control = new AbortController()
    const waiting = client.callTool({ name: 'get_status', arguments: { executionId, waitForMs: 10000 } }, undefined, { signal: control.signal })
    setImmediate(() => control.abort('enough'))
    await assert.rejects(waiting)
    let waitingFor
    while (!waitingFor) {
        const told = await client.callTool({ name: 'get_status', arguments: { executionId, waitForMs: 50 } })
        assert.equal(told.structuredContent.status, 'running')
        waitingFor = told.structuredContent.data.waitingFor
    }
    assert.equal(waitingFor[0].kind, 'approval')
    await client.callTool({ name: 'cancel_workflow', arguments: { executionId, reason: 'enough' } })
    const ended = await client.callTool({ name: 'get_status', arguments: { executionId, waitForMs: 10000 } })
    assert.equal(ended.structuredContent.error.code, 'CANCELLED')

    const { resources } = await client.listResources()
    assert.ok(resources.some((resource) => resource.uri === `execution://${executionId}`))
    const read = await client.readResource({ uri: `execution://${executionId}` })
    assert.equal(JSON.parse(read.contents[0].text).status, 'cancelled')
    const { prompts } = await client.listPrompts()
    assert.deepEqual(prompts.map((prompt) => prompt.name), ['create_workflow', 'analyze_workflow', 'list_workflows'])
    const prompt = await client.getPrompt({ name: 'analyze_workflow', arguments: { workflowId: 'gate' } })
    assert.match(JSON.stringify(prompt), /Publish\?/)
}

test('over standard input and output', async () => {
    const env = { ...process.env, ORCHESTR8_HOME: join(folder, 'spoken') }
    const transport = new StdioClientTransport({ command: program, args: ['mcp', 'serve', '--workflows', folder], env, stderr: 'inherit' })
    await asking(transport, converse)
})

test('over HTTP', async () => {
    const headers = { authorization: `Bearer ${TOKEN}` }
    await asking(new StreamableHTTPClientTransport(new URL('/mcp', url), { requestInit: { headers } }), converse)
})

test('over HTTP without the token', async () => {
    await assert.rejects(asking(new StreamableHTTPClientTransport(new URL('/mcp', url)), async () => {}))
})
