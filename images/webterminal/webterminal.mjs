#!/usr/bin/env node
// A terminal in the browser: the pages and the WebSocket of WeTTY around a shell of whoever runs
// this. WeTTY"s own command would sign in by ssh first; here the gateway has let in who comes.
//
//     node webterminal.mjs PORT-OR-SOCKET [PROGRAM [ARGUMENT...]]

import process from "node:process";

import express from "express";

import { spawn } from "./node_modules/wetty/build/server/spawn.js";
import { xterm } from "./node_modules/wetty/build/server/shared/xterm.js";
import { serveStatic } from "./node_modules/wetty/build/server/socketServer/assets.js";
import { html } from "./node_modules/wetty/build/server/socketServer/html.js";
import { policies } from "./node_modules/wetty/build/server/socketServer/security.js";
import { listen } from "./node_modules/wetty/build/server/socketServer/socket.js";

const [where = "", ...words] = process.argv.slice(2);
if (!where) {
  console.error("usage: node webterminal.mjs PORT-OR-SOCKET [PROGRAM [ARGUMENT...]]");
  process.exit(2);
}
const program = words.length > 0 ? words : ["bash"];
const port = /^[0-9]+$/.test(where) ? Number(where) : 0;

xterm.cwd = process.env.HOME ?? "/";

const pages = express()
  .disable("x-powered-by")
  .use("/client", serveStatic("client"))
  .use(policies(false))
  // Relative links: the terminal need not know at which address people see it.
  .get("/", html(".", "Terminal"));

const terminals = await listen(pages, "127.0.0.1", port, "", {}, port ? "" : where);
// Ten seconds without a network, or on a busy machine, would end the shell.
Object.assign(terminals.engine.opts, { pingInterval: 25_000, pingTimeout: 60_000 });
terminals.on("connection", (socket) => void spawn(socket, program));

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
