"""The official Node SDK's realtime and responses sockets through keywheel's own TLS, which the SDK insists on:
sessions with a megabyte of audio, a browser's key in the subprotocol, close codes; the books afterwards."""
import subprocess

import harness
from books import entries, records, settle


class OpenAISockets(harness.EndToEnd):
    def test_sockets(self):
        modules = harness.ROOT / "tests/e2e/node_modules"
        self.assertTrue(modules.is_dir(), "no SDK: run npm ci in tests/e2e")
        pair = [self.folder / "live.crt", self.folder / "live.key"]
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", pair[0], "--key", pair[1]], check=True,
                       stdout=subprocess.DEVNULL)
        mock = self.mock()
        proxy = self.keywheel(mock, wait=False, env={"KEYWHEEL_SERVER_TLS_CERTIFICATE": pair[0],
                                                     "KEYWHEEL_SERVER_TLS_KEY": pair[1]})
        proxy.ca = pair[0]
        proxy.wait_ready("/readyz")
        self.run_child(["node", "--test", harness.ROOT / "tests/e2e/sdk/sockets.test.mjs"],
                       {"ACCESS_KEY": harness.ACCESS_KEY, "BASE_URL": proxy.url + "/v1",
                        "NODE_EXTRA_CA_CERTS": str(pair[0])})
        settle(proxy, mock)
        responses = [r for r in records(proxy) if r["status"] == 200]
        billed = [e for e in entries(mock) if e["status"] == 200]
        self.assertEqual(len(responses), 7)
        self.assertEqual(sorted((r["tokens"]["input"], r["tokens"]["output"], r["tokens"]["cached_read"]) for r in responses),
                         sorted((e["input_tokens"], e["output_tokens"], e["cached_tokens"]) for e in billed))
        self.assertNotIn(harness.ACCESS_KEY, proxy.log())


if __name__ == "__main__":
    harness.main()
