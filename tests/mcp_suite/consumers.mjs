// The consumers of our MCP schemas that are written in JavaScript.
//
// `node consumers.mjs CONSUMER MCP-ADDRESS MODEL-ADDRESS TOOL…` prints one line of JSON; see
// tests/consumers/harness.py.

import { readFileSync } from "node:fs";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [consumer, mcpUrl, modelUrl, ...tools] = process.argv.slice(2);
const WANTED = { prompt: "Fix the login", kind: "report", who: { name: "Ada" } };

// The official client: it checks the structured content against the tool's output schema.
async function withClient(use) {
  const client = new Client({ name: "consumer", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(mcpUrl)));
  try {
    const listed = (await client.listTools()).tools;
    return await use(client, Object.fromEntries(listed.map((tool) => [tool.name, tool])));
  } finally {
    await client.close();
  }
}

const result = (answer) => ({ error: answer.isError ?? false, answer: answer.structuredContent });

function wanted(schema) {
  return Object.fromEntries(Object.entries(WANTED).filter(([name]) => name in schema.properties));
}

async function typescriptSdk() {
  return await withClient(async (client, listed) => {
    const told = {};
    for (const name of tools) {
      const becomes = listed[name].inputSchema;
      const answer = await client.callTool({ name, arguments: wanted(becomes) });
      told[name] = { becomes, ...result(answer) };
    }
    return told;
  });
}

// A program that makes zod types of the schemas, and checks both ways with them.
async function zod() {
  const { z } = await import("zod");
  return await withClient(async (client, listed) => {
    const told = {};
    for (const name of tools) {
      const input = z.fromJSONSchema(listed[name].inputSchema);
      const becomes = z.toJSONSchema(input, { io: "input" });
      const nothing = Object.fromEntries(
        Object.keys(becomes.properties)
          .filter((key) => !(becomes.required ?? []).includes(key))
          .map((key) => [key, null]),
      );
      delete nothing.anything; // its null is a value
      const said = input.parse({ ...nothing, ...wanted(becomes) });
      const answer = result(await client.callTool({ name, arguments: said }));
      z.fromJSONSchema(listed[name].outputSchema).parse(answer.answer);
      told[name] = { becomes, ...answer };
    }
    return told;
  });
}

async function openaiAgents() {
  const { Agent, MCPServerStreamableHttp, OpenAIChatCompletionsModel, run, setTracingDisabled } =
    await import("@openai/agents");
  const { default: OpenAI } = await import("openai");
  setTracingDisabled(true);
  const client = new OpenAI({ baseURL: `${modelUrl}/v1`, apiKey: "none", maxRetries: 0 });
  const server = new MCPServerStreamableHttp({ url: mcpUrl, name: "devin" });
  await server.connect();
  try {
    const agent = new Agent({
      name: "agent",
      model: new OpenAIChatCompletionsModel(client, "gpt-5"),
      mcpServers: [server],
      mcpConfig: { convertSchemasToStrict: true },
    });
    const told = {};
    for (const name of tools) {
      const { newItems } = await run(agent, `Call ${name}.`);
      const item = newItems.find((item) => item.type === "tool_call_output_item");
      const text = typeof item.output === "string" ? item.output : item.output.text;
      const parsed = JSON.parse(text);
      told[name] = { error: false, answer: parsed.text ? JSON.parse(parsed.text) : parsed };
    }
    return told;
  } finally {
    await server.close();
  }
}

async function aiSdk(model) {
  const { generateText, stepCountIs } = await import("ai");
  const { experimental_createMCPClient: createMCPClient } = await import("@ai-sdk/mcp");
  const client = await createMCPClient({ transport: { type: "http", url: mcpUrl } });
  try {
    const offered = await client.tools();
    const told = {};
    for (const name of tools) {
      const { steps } = await generateText({
        model,
        tools: offered,
        prompt: `Call ${name}.`,
        stopWhen: stepCountIs(2),
        maxRetries: 0,
      });
      told[name] = result(steps[0].toolResults[0].output);
    }
    return told;
  } finally {
    await client.close();
  }
}

async function aiSdkOpenai() {
  const { createOpenAI } = await import("@ai-sdk/openai");
  return await aiSdk(createOpenAI({ baseURL: `${modelUrl}/v1`, apiKey: "none" }).chat("gpt-5"));
}

async function aiSdkGemini() {
  const { createGoogleGenerativeAI } = await import("@ai-sdk/google");
  const google = createGoogleGenerativeAI({ baseURL: `${modelUrl}/v1beta`, apiKey: "none" });
  return await aiSdk(google("gemini-2.5-flash"));
}

const CONSUMERS = {
  "MCP SDK (TypeScript)": [typescriptSdk, "@modelcontextprotocol/sdk"],
  zod: [zod, "zod", "@modelcontextprotocol/sdk"],
  "openai-agents (JavaScript)": [openaiAgents, "@openai/agents"],
  "AI SDK to OpenAI": [aiSdkOpenai, "ai", "@ai-sdk/mcp", "@ai-sdk/openai"],
  "AI SDK to Gemini": [aiSdkGemini, "ai", "@ai-sdk/mcp", "@ai-sdk/google"],
};

const [told, ...packages] = CONSUMERS[consumer];
const pinned = JSON.parse(readFileSync(new URL("package.json", import.meta.url))).dependencies;
const versions = Object.fromEntries(packages.map((name) => [name, pinned[name]]));
console.log(JSON.stringify({ versions, tools: await told() }));
process.exit(0);
