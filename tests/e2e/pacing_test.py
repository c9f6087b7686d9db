"""Keys slow down by their upstream's `x-ratelimit-*` before it answers 429.

Five keys of a mock that lets through, of each, 60 requests and 10,000 tokens in a minute of its own, twelve
times as fast as ours (five seconds, which it tells in its headers; a sixth of both). Both limits bind: a request
takes a tenth of the tokens. Driven at 90 % of the sum, after a window of warm-up, neither the mock answers 429
nor does a client get one. At 120 %, and when a burst asks for everything at once, the mock answers none
either; clients get 429 with a Retry-After that is true: who waits as long is served.
"""
import concurrent.futures
import time

import harness

WINDOW = 5.0
KEYS = 5
REQUESTS = 10
TOKENS = 1_666
# 25 tokens in, 130 out.
BODY = {"model": "mock-tokens-130-first-50", "messages": [{"role": "user", "content": "x"}], "max_tokens": 130}


class Pacing(harness.EndToEnd):
    def start(self, name):
        mock = self.mock(tls=False, name=f"mock-{name}")
        keys = [f"sk-paced-{number}" for number in range(KEYS)]
        for key in keys:
            mock.control(key=key, behaviour=f"limits:{REQUESTS}:{TOKENS}:{int(WINDOW * 1000)}")
        # Shorter than a window: else who is refused would wait for the next one inside the request.
        return mock, self.keywheel(mock, keys=keys, name=name, env={"KEYWHEEL_POOL_RETRY_WAIT_MAX": "500ms"})

    def ask(self, proxy):
        answer = proxy.post("/v1/chat/completions", BODY)
        return answer.status, int(answer.headers.get("retry-after", 0)), time.monotonic()

    def drive(self, proxy, share, windows):
        """Sends at this share of what the keys bear."""
        rate = share * KEYS * REQUESTS / WINDOW
        begin = time.monotonic()

        def one(number):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            return self.ask(proxy)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            return list(pool.map(one, range(int(rate * windows * WINDOW))))

    def refused_by(self, mock, after):
        return [entry["id"] for entry in self.entries(mock, after) if entry["status"] == 429]

    def entries(self, mock, after):
        found = []
        while after is not None:
            got = mock.books(after=after, limit=1000)
            found += got["entries"]
            after = got["next"]
        return found

    def below(self, mock, proxy):
        self.drive(proxy, 0.9, 1)
        begin = len(self.entries(mock, 0))
        shots = self.drive(proxy, 0.9, 2)
        return begin, shots

    def above(self, mock, proxy):
        self.drive(proxy, 1.2, 1)
        begin = len(self.entries(mock, 0))
        shots = self.drive(proxy, 1.2, 2)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            shots += pool.map(lambda _: self.ask(proxy), range(3 * KEYS * REQUESTS))
        # The last ones were told when a key is back.
        for status, wait, told in [shot for shot in shots if shot[0] == 429][-5:]:
            time.sleep(max(0.0, told + wait - time.monotonic()))
            self.assertEqual(self.ask(proxy)[0], 200)
        return begin, shots

    def test_no_429_from_the_upstream(self):
        low, high = self.start("low"), self.start("high")
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            below = both.submit(self.below, *low)
            above = both.submit(self.above, *high)
            begin, shots = below.result()
            self.assertEqual({status for status, _, _ in shots}, {200})
            self.assertEqual(self.refused_by(low[0], begin), [])
            print(f"figure: pacing at 90 %: {len(shots)} requests, 0 answered 429 by the upstream, 0 by us")
            begin, shots = above.result()
        self.assertEqual({status for status, _, _ in shots}, {200, 429})
        self.assertEqual(self.refused_by(high[0], begin), [])
        refused = [wait for status, wait, _ in shots if status == 429]
        self.assertTrue(all(1 <= wait <= WINDOW + 1 for wait in refused), refused)
        print(f"figure: pacing at 120 % and a burst: {len(shots)} requests, {len(refused)} answered 429 by us, "
              "0 by the upstream")


if __name__ == "__main__":
    harness.main()
