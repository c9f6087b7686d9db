"""Shows that the linters fail on bad samples and leave good ones alone."""
import pathlib
import tempfile
import unittest

import coroutines
import layers
import settings
import text

TABLE = """| folder | what | may use |
| --- | --- | --- |
| `app/` | all | auth pool net core |
| `auth/` | who | core store/types.hpp |
| `pool/` | key | core |
| `store/` | state | core |
| `net/` | bytes | core |
| `core/` | words | |
"""


class Tree(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        self.write("docs/architecture.md", TABLE)
        self.write("core/error.hpp", "// Errors of all kinds.\n#pragma once\n")
        self.write("store/types.hpp", "// Vocabulary of state.\n#pragma once\n")
        self.write("store/store.hpp", "// The store itself.\n#pragma once\n")
        self.write("auth/key.hpp", "// Access keys.\n#pragma once\n")

    def write(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def findings(self, module, name, content):
        self.write(name, content)
        return [line for line in module.check(self.root) if line.startswith(name)]


class Layers(Tree):
    def test_allowed(self):
        good = '// Uses what lies below.\n#include "auth/key.hpp"\n#include "core/error.hpp"\n#include <openssl/ssl.h>\n'
        self.assertEqual(self.findings(layers, "app/main.cpp", good), [])
        self.assertEqual(self.findings(layers, "auth/key.cpp", '#include "store/types.hpp"\n'), [])

    def test_upward(self):
        self.assertTrue(self.findings(layers, "core/bad.cpp", '#include "net/loop.hpp"\n'))
        self.assertTrue(self.findings(layers, "net/bad.cpp", '#include "auth/key.hpp"\n'))

    def test_one_header_is_not_the_folder(self):
        self.assertTrue(self.findings(layers, "auth/bad.cpp", '#include "store/store.hpp"\n'))

    def test_siblings(self):
        self.assertTrue(self.findings(layers, "pool/bad.cpp", '#include "auth/key.hpp"\n'))
        self.write("docs/architecture.md", TABLE.replace("| key | core |", "| key | core auth |"))
        self.assertTrue(any("pool may not use auth" in line for line in layers.check(self.root)))

    def test_heavy_header(self):
        for header in ("openssl/ssl.h", "simdjson.h", "boost/asio.hpp", "sqlite3.h"):
            self.assertTrue(self.findings(layers, "net/bad.hpp", f"#include <{header}>\n"), header)

    def test_relative_and_unknown_folder(self):
        self.assertTrue(self.findings(layers, "net/bad.cpp", '#include "loop.hpp"\n'))
        self.assertTrue(self.findings(layers, "misc/bad.cpp", "int x;\n"))

    def test_no_table(self):
        self.write("docs/architecture.md", "nothing\n")
        self.assertTrue(layers.check(self.root))


class Text(Tree):
    def test_good(self):
        self.assertEqual(self.findings(text, "net/a.hpp", "// Bytes in and out.\n#pragma once\n"), [])

    def test_leftovers(self):
        for bad in ("TO" "DO later", "FIX" "ME", "see /ho" "me/someone/notes", "/wo" "rk/main/x"):
            self.assertTrue(self.findings(text, "net/a.cpp", f"// Bytes in and out.\n// {bad}\n"), bad)

    def test_first_line(self):
        self.assertTrue(self.findings(text, "net/a.cpp", '#include "net/a.hpp"\n'.replace("#", " ", 1)))
        self.assertTrue(self.findings(text, "net/a.cpp", "int x;\n"))

    def test_pragma_once(self):
        self.assertTrue(self.findings(text, "net/a.hpp", "// Bytes in and out.\n"))


class Coroutines(unittest.TestCase):
    def findings(self, code):
        return coroutines.check_text(pathlib.PurePosixPath("proxy/a.cpp"), code)

    def test_good(self):
        for good in (
                "auto got = co_await read(s);\nif (got > 0) use(got);",
                "while (co_await next(s)) use(s);",
                "co_await pass(s, limits, name);",
                "// a co_await ? in : a comment\nint x = a ? b : c;",
                'log("co_await ? x : y");',
                "co_return got ? a : b;",
                "if (a && b) co_return co_await end(s);",
                'co_await answer(status, empty ? "" : "text");',
                "co_await wait.until(bit | (gone ? 0 : more), deadline);",
                'spawn("session", run_session(std::move(s)));',
                "const auto later = [&](int x) { return x + 1; };",
                "for (auto& x : co_await list(s)) use(x);",
                "if (auto got = co_await read(s); got > 0) use(got);"):
            self.assertEqual(self.findings(good), [], good)

    def test_bad(self):
        for bad in (
                "auto got = ready ? co_await read(s) : 0;",
                "auto got = ready ? 0 : co_await read(s);",
                "if (co_await read(s) > 0) use(s);",
                "switch (co_await read(s)) {}",
                "use(co_await a(s), co_await b(s));",
                "auto p = pair{co_await a(s), 1};",
                "co_await pass(s, named ? text(s) : other);",
                'co_await pass(s, named ? "a" : other);',
                'spawn("x", [](int a) -> task<void> { co_await f(a); }(1));',
                "auto f = [&x](int a) -> net::task<void> { co_await g(x, a); };",
                "auto f = [this] { co_return; };",
                "std::suspend_never initial_suspend() { return {}; }"):
            self.assertTrue(self.findings(bad), bad)

    def test_line_number(self):
        self.assertIn(":3:", self.findings("\n\nauto x = r ? co_await a(s) : 0;")[0])


class Settings(Tree):
    def test_a_setting_that_nobody_reads(self):
        self.write("app/main.cpp", "// Reads one.\nint port = settings.port;\n")
        table = "// Table.\nat<&server::port>, at<&server::unread>\n"
        self.assertEqual(self.findings(settings, "config/fields.cpp", table),
                         ["config/fields.cpp: no code reads server::unread"])


if __name__ == "__main__":
    unittest.main()
