// A real OpenID provider (npm's oidc-provider) that lets everybody in who is named by POST /people.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [folder, port, back] = process.argv.slice(2);
const main = path.join(folder, JSON.parse(createRequire(import.meta.url)('fs').readFileSync(path.join(folder, 'package.json'))).exports?.default ?? 'lib/index.js');
const { default: Provider } = await import(pathToFileURL(main));
const issuer = `http://127.0.0.1:${port}`;
let person = { sub: 'nobody' };

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'tidemill', client_secret: 'a secret of at least 32 characters!', redirect_uris: [back],
    response_types: ['code'], grant_types: ['authorization_code'],
  }, {
    client_id: 'other', client_secret: 'a secret of at least 32 characters!', redirect_uris: [back],
    response_types: ['code'], grant_types: ['authorization_code'],
  }],
  pkce: { required: () => true, methods: ['S256'] },
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], profile: ['preferred_username'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  features: { devInteractions: { enabled: false } },
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ ...person, sub: id }) }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid profile email groups');
    await grant.save();
    return grant;
  },
});
provider.use(async (ctx, next) => {
  if (ctx.path.startsWith('/interaction/')) {
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: person.sub } });
    ctx.respond = false;
  } else if (ctx.path === '/people') {
    let text = '';
    for await (const chunk of ctx.req) text += chunk;
    person = JSON.parse(text);
    ctx.body = 'ok';
  } else {
    await next();
  }
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
