// Applications of Node, by name: `url` reads what it is asked for as a URL, as many small servers do, and decodes its
// path; `express` routes with Express, whose router does not tell case from case.
import { createRequire } from "node:module";
import { createServer } from "node:http";

const [name, port] = process.argv.slice(2);
const SECRET = "the secret of the admins\n", OPEN = "an open page\n";

function url(request, response) {
  try {
    const path = decodeURIComponent(new URL(request.url, "http://app.localhost").pathname);
    response.end(path.startsWith("/admin/") ? SECRET : OPEN);
  } catch {
    response.writeHead(400).end();
  }
}

function express() {
  const require = createRequire(`${process.env.PORTCULLIS_RIG_MODULES}/`);
  const app = require("express")();
  app.get("/admin/:page", (_, response) => response.send(SECRET));
  app.use("/admin", (_, response) => response.send(SECRET));
  app.use((_, response) => response.send(OPEN));
  return app;
}

createServer(name === "express" ? express() : url).listen(Number(port), "127.0.0.1");
