"""What the official Python SDK makes in an account and finds again, each call through another of the base URLs
in turn; in the middle of each flow the first one's process is killed and started again. Run by
openai_python_test.py in its venv."""
import io
import itertools
import os
import unittest
import urllib.request

import openai

MODEL = "gpt-4o-mini"


class Objects(unittest.TestCase):
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

    def restart(self):
        with urllib.request.urlopen(os.environ["RESTART_URL"], timeout=60) as answer:
            self.assertEqual(answer.status, 200)

    def ids(self, page):
        return [item.id for item in page]

    def file(self, name="a.jsonl", purpose="batch"):
        return self.ai.files.create(file=(name, io.BytesIO(b'{"custom_id":"1"}\n')), purpose=purpose)

    def test_files(self):
        made = [self.file(f"{i}.jsonl").id for i in range(5)]
        self.restart()
        for each in made:
            self.assertEqual(self.ai.files.retrieve(each).id, each)
            self.assertTrue(self.ai.files.content(each).read())
        listed = self.ids(self.ai.files.list())
        self.assertEqual([i for i in listed if i in made], made[::-1])
        # In pages of two, by the SDK's own cursors.
        paged = self.ids(self.ai.files.list(limit=2))
        self.assertEqual(paged, listed)
        self.assertEqual(self.ids(self.ai.files.list(limit=2, order="asc")), listed[::-1])
        self.assertTrue(self.ai.files.delete(made[0]).deleted)
        self.assertNotIn(made[0], self.ids(self.ai.files.list()))

    def test_uploads(self):
        upload = self.ai.uploads.create(bytes=6, filename="big", mime_type="text/plain", purpose="assistants")
        parts = [self.ai.uploads.parts.create(upload.id, data=b"abc").id for _ in range(2)]
        self.restart()
        done = self.ai.uploads.complete(upload.id, part_ids=parts)
        self.assertEqual(self.ai.files.retrieve(done.file.id).id, done.file.id)
        other = self.ai.uploads.create(bytes=6, filename="big", mime_type="text/plain", purpose="assistants")
        self.assertEqual(self.ai.uploads.cancel(other.id).status, "cancelled")

    def test_batches(self):
        made = []
        for _ in range(3):
            batch = self.ai.batches.create(input_file_id=self.file().id, endpoint="/v1/chat/completions",
                                           completion_window="24h")
            made.append(batch.id)
            if len(made) == 2:
                self.restart()
            again = self.ai.batches.retrieve(batch.id)
            self.assertTrue(self.ai.files.content(again.output_file_id).read())
        self.assertEqual([i for i in self.ids(self.ai.batches.list(limit=1)) if i in made], made[::-1])
        self.assertEqual(self.ai.batches.cancel(made[0]).status, "cancelled")

    def test_vector_stores(self):
        store = self.ai.vector_stores.create(name="s")
        files = [self.file(purpose="assistants").id for _ in range(2)]
        self.restart()
        for each in files:
            self.assertEqual(self.ai.vector_stores.files.create(store.id, file_id=each).id, each)
        self.assertEqual(sorted(self.ids(self.ai.vector_stores.files.list(store.id, limit=1))), sorted(files))
        batch = self.ai.vector_stores.file_batches.create(store.id, file_ids=files)
        self.ai.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
        self.ai.vector_stores.search(store.id, query="q")
        other = self.ai.vector_stores.create(name="with files", file_ids=files)
        listed = self.ids(self.ai.vector_stores.list(limit=1))
        self.assertEqual([i for i in listed if i in (store.id, other.id)], [other.id, store.id])
        self.ai.responses.create(model=MODEL, input="find", tools=[
            {"type": "file_search", "vector_store_ids": [store.id]}])
        self.ai.vector_stores.delete(store.id)
        self.assertNotIn(store.id, self.ids(self.ai.vector_stores.list()))

    def test_fine_tuning(self):
        job = self.ai.fine_tuning.jobs.create(model=MODEL, training_file=self.file(purpose="fine-tune").id)
        self.restart()
        got = self.ai.fine_tuning.jobs.retrieve(job.id)
        self.assertTrue(self.ids(self.ai.fine_tuning.jobs.list_events(job.id)))
        self.assertTrue(self.ids(self.ai.fine_tuning.jobs.checkpoints.list(job.id)))
        self.assertIn(job.id, self.ids(self.ai.fine_tuning.jobs.list(limit=1)))
        self.assertTrue(self.ai.files.content(got.result_files[0]).read())
        self.ai.chat.completions.create(model=got.fine_tuned_model, messages=[{"role": "user", "content": "hi"}])
        self.ai.fine_tuning.jobs.pause(job.id)
        self.ai.fine_tuning.jobs.cancel(job.id)

    def test_responses(self):
        before = None
        for turn in range(6):
            if turn == 3:
                self.restart()
            if turn % 2:
                with self.ai.responses.create(model=MODEL, input="go on", previous_response_id=before,
                                              stream=True) as events:
                    last = [event for event in events][-1].response
            else:
                last = self.ai.responses.create(model=MODEL, input="begin", **(
                    {"previous_response_id": before} if before else {}))
            if before:
                self.assertEqual(last.previous_response_id, before)
            before = last.id
            self.assertEqual(self.ai.responses.retrieve(before).id, before)
        self.assertTrue(self.ids(self.ai.responses.input_items.list(before)))
        queued = self.ai.responses.create(model=MODEL, input="slow", background=True)
        self.assertEqual(self.ai.responses.retrieve(queued.id).status, "completed")
        self.ai.responses.cancel(queued.id)
        self.ai.responses.delete(queued.id)
        with self.assertRaises(openai.NotFoundError):
            self.ai.responses.retrieve(queued.id)

    def test_conversations(self):
        talk = self.ai.conversations.create(metadata={"a": "b"})
        self.restart()
        item = self.ai.conversations.items.create(talk.id, items=[{"role": "user", "content": "hi", "type": "message"}])
        self.assertIn(item.data[0].id, self.ids(self.ai.conversations.items.list(talk.id)))
        self.ai.responses.create(model=MODEL, input="x", conversation=talk.id)
        self.ai.responses.create(model=MODEL, input="x", conversation={"id": talk.id})
        self.ai.conversations.retrieve(talk.id)
        self.ai.conversations.update(talk.id, metadata={"c": "d"})
        self.ai.conversations.delete(talk.id)

    def test_assistants(self):
        beta = lambda: self.ai.beta
        helper = beta().assistants.create(model=MODEL, name="n")
        thread = beta().threads.create()
        self.restart()
        message = beta().threads.messages.create(thread.id, role="user", content="hi")
        self.assertIn(message.id, self.ids(beta().threads.messages.list(thread.id)))
        run = beta().threads.runs.create(thread_id=thread.id, assistant_id=helper.id)
        self.assertEqual(beta().threads.runs.retrieve(run.id, thread_id=thread.id).status, "completed")
        self.assertTrue(self.ids(beta().threads.runs.steps.list(run.id, thread_id=thread.id)))
        both = beta().threads.create_and_run(assistant_id=helper.id)
        self.assertEqual(beta().threads.retrieve(both.thread_id).id, both.thread_id)
        with beta().threads.runs.stream(thread_id=thread.id, assistant_id=helper.id) as events:
            self.assertTrue(list(events))
        self.assertIn(helper.id, self.ids(beta().assistants.list(limit=1)))
        beta().assistants.update(helper.id, name="m")
        beta().assistants.delete(helper.id)

    def test_evals(self):
        made = self.ai.evals.create(name="e", data_source_config={"type": "logs"}, testing_criteria=[])
        self.restart()
        source = {"type": "jsonl", "source": {"type": "file_id", "id": self.file(purpose="evals").id}}
        run = self.ai.evals.runs.create(made.id, data_source=source)
        self.assertEqual(self.ai.evals.runs.retrieve(run.id, eval_id=made.id).id, run.id)
        self.assertTrue(self.ids(self.ai.evals.runs.output_items.list(run.id, eval_id=made.id)))
        self.assertIn(made.id, self.ids(self.ai.evals.list(limit=1)))
        self.ai.evals.delete(made.id)

    def test_containers(self):
        box = self.ai.containers.create(name="c")
        self.restart()
        inside = self.ai.containers.files.create(box.id, file_id=self.file(purpose="user_data").id)
        self.assertTrue(self.ai.containers.files.content.retrieve(inside.id, container_id=box.id).read())
        self.assertIn(inside.id, self.ids(self.ai.containers.files.list(box.id)))
        self.assertIn(box.id, self.ids(self.ai.containers.list(limit=1)))
        self.ai.responses.create(model=MODEL, input="x", tools=[{"type": "code_interpreter", "container": box.id}])
        self.ai.containers.delete(box.id)

    def test_videos(self):
        made = [self.ai.videos.create(prompt=f"p{i}", model="sora-2").id for i in range(7)]
        self.restart()
        for each in made:
            self.assertEqual(self.ai.videos.retrieve(each).id, each)
            self.assertTrue(self.ai.videos.download_content(each).read())
        again = self.ai.videos.remix(made[0], prompt="more")
        made.append(again.id)
        self.assertEqual([i for i in self.ids(self.ai.videos.list(limit=3)) if i in made], made[::-1])
        for each in made:
            self.ai.videos.delete(each)
        self.assertFalse(set(made) & set(self.ids(self.ai.videos.list())))

    def test_a_file_in_a_chat(self):
        pdf = self.file("a.pdf", "user_data").id
        self.restart()
        for _ in range(6):
            self.ai.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": [
                {"type": "file", "file": {"file_id": pdf}}, {"type": "text", "text": "what?"}]}])


if __name__ == "__main__":
    unittest.main(verbosity=1)
