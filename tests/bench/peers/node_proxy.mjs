// A reverse proxy as one writes it in Node: http in, https with keep-alive out, bodies piped. A peer of the
// benchmark. node node_proxy.mjs PORT UPSTREAM_PORT KEY, NODE_EXTRA_CA_CERTS names the upstream's certificate.
import http from "node:http";
import https from "node:https";

const [port, upstream, key] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: true, maxFreeSockets: 1024 });

http.createServer((request, response) => {
  const headers = { ...request.headers, host: `127.0.0.1:${upstream}`, authorization: `Bearer ${key}` };
  const onward = https.request(
    { host: "127.0.0.1", port: upstream, servername: "localhost", path: request.url, method: request.method, headers, agent },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
  onward.on("error", () => response.writeHead(502).end());
  request.pipe(onward);
}).listen(Number(port), "127.0.0.1");
