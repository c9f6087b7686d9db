"""The official Python SDK's realtime and responses sockets, each through another of the base URLs in turn. Run by
openai_python_test.py in its venv."""
import itertools
import os
import unittest

import openai

MODEL = "mock-realtime"
MEGABYTE = 1 << 20
# The package under the SDK takes a megabyte and no more, unless it is told.
LARGE = {"max_size": 8 * MEGABYTE}


class Sockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.clients = [openai.OpenAI(api_key=os.environ["ACCESS_KEY"], base_url=url, max_retries=0, timeout=60)
                       for url in os.environ["BASE_URLS"].split(",")]
        cls.turn = itertools.cycle(cls.clients)

    @classmethod
    def tearDownClass(cls):
        for client in cls.clients:
            client.close()

    @property
    def ai(self):
        return next(self.turn)

    def until(self, connection, kind):
        while (event := connection.recv()).type != kind:
            self.assertNotEqual(event.type, "error", event)
        return event

    def test_realtime_with_text_and_a_megabyte_of_audio_both_ways(self):
        with self.ai.realtime.connect(model=MODEL, websocket_connection_options=LARGE) as rt:
            self.assertEqual(self.until(rt, "session.created").session.model, MODEL)
            for turn in range(3):
                rt.conversation.item.create(item={"type": "message", "role": "user", "content": [
                    {"type": "input_text", "text": "hello " * 10}]})
                rt.input_audio_buffer.append(audio="A" * MEGABYTE)
                rt.send({"type": "response.create", "response": {"audio": MEGABYTE, "tokens": 10 + turn}})
                self.assertEqual(len(self.until(rt, "response.output_audio.delta").delta), MEGABYTE)
                done = self.until(rt, "response.done").response
                self.assertEqual(done.status, "completed")
                self.assertGreaterEqual(done.usage.input_token_details.audio_tokens, 163)
            rt.input_audio_buffer.append(audio="A" * 64_000)
            rt.input_audio_buffer.commit()
            told = self.until(rt, "conversation.item.input_audio_transcription.completed")
            self.assertEqual(told.usage.type, "tokens")

    def test_close_codes_pass_and_breaks_stay_breaks(self):
        from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
        for order, code, kind in (({"type": "mock.close", "code": 4001, "reason": "why"}, 4001, ConnectionClosedError),
                                  ({"type": "mock.close", "code": 1000, "reason": "done"}, 1000, ConnectionClosedOK),
                                  ({"type": "mock.abort"}, None, ConnectionClosedError),
                                  ({"type": "mock.reset"}, None, ConnectionClosedError)):
            with self.ai.realtime.connect(model=MODEL) as rt:
                self.until(rt, "session.created")
                rt.send(order)
                with self.assertRaises(kind) as closed:
                    while rt.recv():
                        pass
                self.assertEqual(closed.exception.rcvd.code if closed.exception.rcvd else None, code)

    def test_the_client_goes_away_in_the_middle(self):
        with self.ai.realtime.connect(model=MODEL) as rt:
            self.until(rt, "session.created")
            rt.send({"type": "response.create", "response": {"tokens": 500, "pace": 20}})
            self.until(rt, "response.output_text.delta")
            rt.close(code=4009, reason="enough")

    def test_calls_and_their_second_sockets(self):
        """Each call is answered through one replica and joined through the next."""
        for _ in range(6):
            made = self.ai.realtime.calls.with_raw_response.create(
                sdp="v=0\r\n", session={"type": "realtime", "model": MODEL})
            call = made.headers["location"].rsplit("/", 1)[1]
            with self.ai.realtime.connect(call_id=call) as rt:
                self.until(rt, "session.created")
            self.ai.realtime.calls.refer(call, target_uri="tel:+1")
            self.ai.realtime.calls.hangup(call)
            secret = self.ai.realtime.client_secrets.create(session={"type": "realtime", "model": MODEL})
            self.assertTrue(secret.value)

    def test_the_responses_socket(self):
        last = None
        for _ in range(4):
            with self.ai.responses.connect() as rs:
                for turn in range(2):
                    rs.send({"type": "response.create", "model": "gpt-4o-mini", "input": "hello", "tokens": 5 + turn,
                             **({"previous_response_id": last} if last else {})})
                    done = self.until(rs, "response.completed").response
                    self.assertEqual(done.usage.output_tokens, 5 + turn)
                    last = done.id
            self.assertEqual(self.ai.responses.retrieve(last).id, last)

    def test_a_wrong_key_is_refused_before_the_upgrade(self):
        from websockets.exceptions import InvalidStatus
        client = openai.OpenAI(api_key="sk-wrong", base_url=self.ai.base_url, max_retries=0)
        with self.assertRaises(InvalidStatus) as refused:
            client.realtime.connect(model=MODEL).enter()
        self.assertEqual(refused.exception.response.status_code, 401)
        client.close()


if __name__ == "__main__":
    unittest.main(verbosity=1)
