// An OpenID provider that nobody here wrote (npm oidc-provider), started by the end-to-end suite.
//
//   node op.mjs '{"port": 9802, "host": "idp.localhost"}'
//
// Prints one line, `ready ISSUER`, when it listens; ends when its standard input ends, so it never outlives its test.
// Sign in as anybody with any password. The account is the login name: `sub` is that name byte for byte, so a test
// gives it the `externalId` of its SCIM user. Claims can be set by name with the control calls below.
//
// Control, JSON over POST, loopback only (this is the rig, not the provider):
//   /rig/client   {"client_id", "client_secret", "redirect_uris", "post_logout_redirect_uris", …}   registers a client
//   /rig/person   {"name", "claims": {…}, "disabled": false}          what is said of somebody from now on
//   /rig/rotate   {"keep": true}                                      signs with a new key; the old one stays published if kept
//   /rig/mode     {"mode": "up" | "down" | "slow" | "nonsense"}       how everything but /rig/ is answered from now on
//   /rig/hold     {"client_id"}                                       token requests of this client wait from now on
//   /rig/release  {"client_id"}                                       and go on
//   /rig/held     {"client_id"}                                       how many wait: {"count"}
//   /rig/tokens   {"client_id"}                                       the logout tokens that were sent: [token, …]
//   /rig/seen     {}                                                  how often each path was asked since the start
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { dirname, join } from 'node:path';

// The package stands in the cache folder, not beside this file: PORTCULLIS_RIG_MODULES says where.
const require = createRequire(join(process.env.PORTCULLIS_RIG_MODULES ?? '.', 'package.json'));
const entry = require.resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(entry));
const { default: Memory } = await import(pathToFileURL(join(dirname(entry), 'adapters', 'memory_adapter.js')));

// Standard output is for the one line; whoever reads it stops reading then.
const ready = (line) => process.stdout.write(`${line}\n`);
console.log = console.info = console.error;

const settings = { port: 9802, host: '127.0.0.1', ...JSON.parse(process.argv[2] ?? '{}') };
const issuer = settings.issuer ?? `http://${settings.host}:${settings.port}`;
const clients = new Map((settings.clients ?? []).map((client) => [client.client_id, client]));
const people = new Map(Object.entries(settings.people ?? {}));
const seen = {};
let mode = 'up';
const tokens = [];
const held = new Map();                                               // client_id → what lets each waiting request go on

class Adapter extends Memory {
  constructor(name) { super(name); this.kind = name; }
  async find(id) { return this.kind === 'Client' ? clients.get(id) : super.find(id); }
}

function key() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
}

function claimsOf(name) {
  return {
    name, preferred_username: name, email: `${name}@example.com`, email_verified: true, groups: ['staff'],
    ...people.get(name)?.claims, sub: name,
  };
}

function provider(keys) {
  const made = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    claims: {
      openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'], groups: ['groups'],
    },
    conformIdTokenClaims: settings.conform ?? false,             // false: claims stand in the ID token too
    findAccount: (ctx, name) => (people.get(name)?.disabled ? undefined : { accountId: name, claims: () => claimsOf(name) }),
    features: {
      devInteractions: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
    },
    rotateRefreshToken: true,
    issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
    pkce: { required: () => true },
    cookies: { keys: ['rig'] },
    ttl: { Interaction: 3600, Session: 86400, Grant: 86400, IdToken: 3600, AccessToken: 3600 },
    // 9.13 refuses calls to loopback by a dispatcher in the options; the rig lives on loopback.
    fetch: (url, options) => {
      delete options.dispatcher;
      const token = new URLSearchParams(options.body?.toString() ?? '').get('logout_token');
      if (token) tokens.push(token);
      return globalThis.fetch(url, options);
    },
  });
  for (const event of ['server_error', 'backchannel.success', 'backchannel.error', 'grant.error', 'authorization.error']) {
    made.on(event, (ctx, error) => console.error(event, error?.error_description ?? error?.cause ?? error?.clientId ?? error));
  }
  return made;
}

let keys = settings.jwks ?? [key()];
let serve = provider(keys).callback();

const control = {
  client(said) {
    clients.set(said.client_id, {
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], ...said,
    });
  },
  person(said) { people.set(said.name, said); },
  rotate(said) {
    const fresh = key();
    keys = said.keep ? [fresh, ...keys] : [fresh];
    serve = provider(keys).callback();
    return { kid: fresh.kid };
  },
  mode(said) { mode = said.mode; },
  hold(said) { held.set(said.client_id, []); },
  release(said) { held.get(said.client_id)?.forEach((go) => go()); held.delete(said.client_id); },
  held(said) { return { count: held.get(said.client_id)?.length ?? 0 }; },
  tokens(said) {
    const audience = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).aud;
    return tokens.filter((token) => audience(token) === said.client_id);
  },
  seen() { return seen; },
};

const server = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://rig').pathname;
  if (path.startsWith('/rig/')) {
    let body = '';
    for await (const piece of request) body += piece;
    const answer = control[path.slice(5)]?.(JSON.parse(body || '{}'));
    response.writeHead(path.slice(5) in control ? 200 : 404, { 'content-type': 'application/json' });
    return response.end(JSON.stringify(answer ?? {}));
  }
  seen[path] = (seen[path] ?? 0) + 1;
  if (mode === 'down') return request.socket.destroy();
  if (mode === 'slow') return undefined;                          // accepted, never answered
  if (mode === 'nonsense') {
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end('{"issuer": 7, "keys": "none');
  }
  if (path === '/token') {
    // The client says its name in the header (client_secret_basic).
    const basic = Buffer.from(request.headers.authorization?.split(' ')[1] ?? '', 'base64').toString();
    const waiting = held.get(decodeURIComponent(basic.split(':')[0]));
    if (waiting) await new Promise((go) => waiting.push(go));
  }
  return serve(request, response);
});

server.listen(settings.port, '127.0.0.1', () => ready(`ready ${issuer}`));
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0));
