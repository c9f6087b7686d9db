"""`keywheel healthcheck` finds the server as it is configured: on its port, on a health port, on TLS, by a file; it fails
when nobody answers and when the configuration is refused."""
import subprocess

import harness


class Healthcheck(harness.EndToEnd):
    def check(self, env, *words):
        return subprocess.run([harness.PROGRAM, "healthcheck", *map(str, words)], env=env, cwd=self.folder, timeout=30,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode

    def test_where_it_looks(self):
        mock = self.mock(tls=False)
        plain = self.keywheel(mock, name="plain")
        self.assertEqual(self.check(plain.env), 0)
        self.assertEqual(self.check({**plain.env, "PORT": str(harness.free_port())}), 1)
        self.assertEqual(self.check({**plain.env, "KEYWHEEL_NO_SUCH_SETTING": "1"}), 1)
        plain.stop()
        self.assertEqual(self.check(plain.env), 1)

        certificate, key = self.folder / "a.crt", self.folder / "a.key"
        subprocess.run([harness.PROGRAM, "self-signed", "--cert", certificate, "--key", key], check=True, stdout=subprocess.DEVNULL)
        tls = f"tls_certificate: {certificate}, tls_key: {key}"
        for name, text in (("secure", tls), ("apart", f"health_port: {harness.free_port()}, {tls}")):
            proxy = self.keywheel(mock, name=name, config=f"server: {{{text}}}\n", wait=False)
            file = self.folder / f"{name}.yaml"
            harness.wait_until("it answers", lambda: self.check(proxy.env, "--config", file) == 0, 30)
            self.assertEqual(self.check({**proxy.env, "KEYWHEEL_CONFIG": str(file)}, "--ca", certificate), 0)
            self.assertEqual(self.check(proxy.env), 1)  # another place, without the file


if __name__ == "__main__":
    harness.main()
