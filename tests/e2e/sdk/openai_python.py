"""What the official Python SDK does through the proxy. Run by openai_python_test.py in its venv."""
import io
import os
import unittest

import openai

MODEL = "gpt-4o-mini"


def client(**options):
    given = {"api_key": os.environ["ACCESS_KEY"], "base_url": os.environ["BASE_URL"], "max_retries": 0,
             "timeout": 60, **options}
    return openai.OpenAI(**given)


def say(text):
    return [{"role": "user", "content": text}]


class Calls(unittest.TestCase):
    def setUp(self):
        self.openai = client()
        self.addCleanup(self.openai.close)

    def test_chat(self):
        raw = self.openai.chat.completions.with_raw_response.create(model=MODEL, messages=say("hello"))
        answer = raw.parse()
        self.assertTrue(answer.choices[0].message.content)
        self.assertGreater(answer.usage.total_tokens, 0)
        self.assertTrue(raw.headers["x-keywheel-request-id"])

    def test_streamed_chat(self):
        chunks = list(self.openai.chat.completions.create(model=MODEL, messages=say("count"), stream=True))
        self.assertTrue(all(chunk.choices for chunk in chunks))
        self.assertTrue("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")

    def test_streamed_chat_with_usage(self):
        chunks = list(self.openai.chat.completions.create(
            model=MODEL, messages=say("count"), stream=True, stream_options={"include_usage": True}))
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_tools(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]
        answer = self.openai.chat.completions.create(model=MODEL, messages=say("weather?"), tools=tools)
        self.assertEqual(answer.choices[0].message.tool_calls[0].function.name, "weather")

    def test_structured_output(self):
        schema = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": {
            "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"],
            "additionalProperties": False}}}
        answer = self.openai.chat.completions.create(model=MODEL, messages=say("who?"), response_format=schema)
        self.assertIn('"name"', answer.choices[0].message.content)

    def test_embeddings(self):
        answer = self.openai.embeddings.create(model="text-embedding-3-small", input="word", dimensions=64)
        self.assertEqual(len(answer.data[0].embedding), 64)

    def test_responses(self):
        answer = self.openai.responses.create(model=MODEL, input="hello")
        self.assertTrue(answer.output_text)

    def test_streamed_responses(self):
        events = list(self.openai.responses.create(model=MODEL, input="hello", stream=True))
        self.assertEqual(events[-1].type, "response.completed")

    def test_images(self):
        self.assertTrue(self.openai.images.generate(model="gpt-image-1", prompt="a wheel").data)

    def test_transcription(self):
        speech = ("speech.wav", io.BytesIO(bytes(25 << 20)))
        answer = self.openai.audio.transcriptions.create(model="gpt-4o-transcribe", file=speech)
        self.assertTrue(answer.text)

    def test_speech(self):
        answer = self.openai.audio.speech.create(model="tts-1", voice="alloy", input="hello")
        self.assertEqual(len(answer.content), 64 * 1024)

    def test_file(self):
        file = self.openai.files.create(file=("a.jsonl", b'{"a":1}\n'), purpose="batch")
        self.assertEqual(file.bytes, 8)
        self.assertTrue(self.openai.files.delete(file.id).deleted)

    def test_models(self):
        self.assertTrue(self.openai.models.list().data)

    def test_abort(self):
        with self.openai.chat.completions.create(
                model="mock-pace-20-tokens-500-pyabort", messages=say("long"), stream=True) as stream:
            for seen, _ in enumerate(stream):
                if seen == 4:
                    break
        self.assertTrue(self.openai.chat.completions.create(model=MODEL, messages=say("again")).id)


class Exceptions(unittest.TestCase):
    CLASSES = {
        400: openai.BadRequestError, 401: openai.AuthenticationError, 402: openai.APIStatusError,
        403: openai.PermissionDeniedError, 404: openai.NotFoundError, 409: openai.ConflictError,
        422: openai.UnprocessableEntityError, 429: openai.RateLimitError, 500: openai.InternalServerError,
        503: openai.InternalServerError,
    }

    def setUp(self):
        self.openai = client()
        self.addCleanup(self.openai.close)

    def test_statuses(self):
        for status, kind in self.CLASSES.items():
            for stream in (False, True):
                with self.subTest(status=status, stream=stream), self.assertRaises(kind) as caught:
                    self.openai.chat.completions.create(
                        model=f"mock-status-{status}", messages=say("x"), stream=stream)
                self.assertEqual(caught.exception.status_code, status)

    def test_wrong_access_key(self):
        with client(api_key="sk-wrong") as stranger, self.assertRaises(openai.AuthenticationError) as caught:
            stranger.chat.completions.create(model=MODEL, messages=say("x"))
        self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_cut_stream(self):
        for fault in ("cut-10", "cut_reset-10", "error_event-10"):
            finished = False
            with self.subTest(fault=fault), self.assertRaises(Exception):
                for chunk in self.openai.chat.completions.create(
                        model=f"mock-tokens-60-{fault}", messages=say("x"), stream=True):
                    finished = finished or any(choice.finish_reason == "stop" for choice in chunk.choices)
            self.assertFalse(finished)


if __name__ == "__main__":
    unittest.main(verbosity=2)
