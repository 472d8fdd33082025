// A real OpenID provider whose accounts are a file that a test changes while it runs.
//
// node provider.mjs PORT ACCOUNTS REDIRECT_URI, with the client's secret in the variable
// OPENID_CLIENT_SECRET. ACCOUNTS holds {subject: claims}; it is read at every question.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

import Provider from "oidc-provider";

const [port, accounts, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const INTERACTION = /^\/interaction\/[\w-]+$/;
const FORM_LIMIT = 10_000;

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

function findAccount(_ctx, accountId) {
  const known = JSON.parse(readFileSync(accounts, "utf8"));
  if (!Object.hasOwn(known, accountId)) return undefined;
  return { accountId, claims: () => ({ ...known[accountId], sub: accountId }) };
}

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "canfar-hub",
      client_secret: process.env.OPENID_CLIENT_SECRET,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  claims: { openid: ["sub"], profile: ["preferred_username", "uid", "gid", "groups"] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  features: { devInteractions: { enabled: false } },
  findAccount,
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256" }] },
  // Nobody is asked whether the hub may know who she is.
  async loadExistingGrant(ctx) {
    const { client, provider: self, session } = ctx.oidc;
    const grant = new self.Grant({ accountId: session.accountId, clientId: client.clientId });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
  pkce: { methods: ["S256"], required: () => true },
  // So short that a launch needs the refresh token.
  ttl: { AccessToken: 2, Grant: 86400, IdToken: 3600, RefreshToken: 86400, Session: 86400 },
});

async function readForm(request) {
  let text = "";
  for await (const chunk of request) {
    text += chunk;
    if (text.length > FORM_LIMIT) throw new Error("the form is too long");
  }
  return new URLSearchParams(text);
}

const FORM = `<!doctype html><html lang="en"><title>Provider</title><form method="post">
<label>Account <input name="account" autofocus></label> <button>Continue</button></form></html>`;

async function interact(request, response) {
  if (request.method === "GET") {
    response.setHeader("Content-Type", "text/html");
    response.end(FORM);
    return;
  }
  const accountId = (await readForm(request)).get("account");
  const result = findAccount(null, accountId)
    ? { login: { accountId } }
    : { error: "access_denied", error_description: "There is no such account." };
  await provider.interactionFinished(request, response, result);
}

const handle = provider.callback();
createServer((request, response) => {
  if (!INTERACTION.test(request.url)) return handle(request, response);
  return interact(request, response).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
}).listen(Number(port), "127.0.0.1");
