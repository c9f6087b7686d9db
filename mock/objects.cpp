// Things that stay: files, batches, vector stores, threads and all the others, each in one account.
// A collection is a path; what is created there gets a path below it, and that is all there is to
// know of it but for a few families that make others.
#include <algorithm>
#include <array>

#include "core/json_writer.hpp"
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

struct family {
    std::string_view path;  // of the collection; '*' stands for an id
    std::string_view prefix;
    std::string_view object;
    std::string_view status = "completed";
};

constexpr std::array families{
    family{"files", "file-mock", "file", "processed"},
    family{"uploads", "upload_mock", "upload", "pending"},
    family{"uploads/*/parts", "part_mock", "upload.part"},
    family{"batches", "batch_mock", "batch", "validating"},
    family{"vector_stores", "vs_mock", "vector_store"},
    family{"vector_stores/*/files", "file-mock", "vector_store.file"},
    family{"vector_stores/*/file_batches", "vsfb_mock", "vector_store.file_batch"},
    family{"fine_tuning/jobs", "ftjob-mock", "fine_tuning.job", "succeeded"},
    family{"fine_tuning/jobs/*/events", "ftevent-mock", "fine_tuning.job.event"},
    family{"fine_tuning/jobs/*/checkpoints", "ftckpt_mock", "fine_tuning.job.checkpoint"},
    family{"responses", "resp_mock", "response"},
    family{"conversations", "conv_mock", "conversation"},
    family{"conversations/*/items", "msg_mock", "message"},
    family{"assistants", "asst_mock", "assistant"},
    family{"threads", "thread_mock", "thread"},
    family{"threads/*/messages", "msg_mock", "thread.message"},
    family{"threads/*/runs", "run_mock", "thread.run"},
    family{"threads/*/runs/*/steps", "step_mock", "thread.run.step"},
    family{"evals", "eval_mock", "eval"},
    family{"evals/*/runs", "evalrun_mock", "eval.run"},
    family{"evals/*/runs/*/output_items", "outputitem_mock", "eval.run.output_item", "pass"},
    family{"containers", "cntr_mock", "container", "running"},
    family{"containers/*/files", "cfile_mock", "container.file"},
    family{"videos", "video_mock", "video"},
    family{"skills", "skill_mock", "skill"},
    family{"skills/*/versions", "skillver_mock", "skill.version"},
    family{"chat/completions", "chatcmpl-mock", "chat.completion"},
    family{"chatkit/sessions", "cksess_mock", "chatkit.session", "active"},
    family{"chatkit/threads", "cthr_mock", "chatkit.thread", "active"},
    family{"audio/voice_consents", "cons_mock", "audio.voice_consent"},
};

// Where ids that a body names must be.
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> places{{
    {"file-mock", "/files/"},
    {"resp_mock", "/responses/"},
    {"conv_mock", "/conversations/"},
    {"vs_mock", "/vector_stores/"},
    {"cntr_mock", "/containers/"},
    {"thread_mock", "/threads/"},
    {"asst_mock", "/assistants/"},
    {"eval_mock", "/evals/"},
    {"video_mock", "/videos/"},
    {"batch_mock", "/batches/"},
}};

std::vector<std::string_view> split(std::string_view path) {
    std::vector<std::string_view> out;
    while (!path.empty()) {
        path.remove_prefix(path.front() == '/' ? 1 : 0);
        const auto end = std::min(path.find('/'), path.size());
        if (end > 0) out.push_back(path.substr(0, end));
        path.remove_prefix(end);
    }
    return out;
}

struct place {
    const family* of = nullptr;
    std::string collection;  // "/threads/thread_mock1/runs"
    std::string parent;      // "/threads/thread_mock1"; "" : none
    std::string id;
    std::string verb;
    [[nodiscard]] std::string path() const { return collection + "/" + id; }
};

// The longest collection that the path begins with, and at most two words behind it.
place take_apart(std::string_view path) {
    place best;
    path.remove_prefix(std::min<std::size_t>(path.size(), 3));  // "/v1"
    const auto words = split(path);
    std::size_t longest = 0;
    for (const family& f : families) {
        const auto wanted = split(f.path);
        if (wanted.size() > words.size() || words.size() > wanted.size() + 2 ||
            wanted.size() <= longest)
            continue;
        bool fits = true;
        for (std::size_t i = 0; i < wanted.size() && fits; ++i)
            fits = wanted[i] == "*" || wanted[i] == words[i];
        if (!fits) continue;
        longest = wanted.size();
        best = {};
        best.of = &f;
        for (std::size_t i = 0; i < wanted.size(); ++i) {
            if (i + 1 == wanted.size() && wanted.size() > 2 && wanted[i - 1] == "*")
                best.parent = best.collection;
            best.collection.append("/").append(words[i]);
        }
        if (words.size() > longest) best.id = words[longest];
        if (words.size() > longest + 1) best.verb = words[longest + 1];
    }
    return best;
}

std::string stored_at(const exchange& x, std::string_view path) {
    return x.account + " " + std::string(path);
}

bool find_object(exchange& x, std::string_view path, stored_object& out) {
    server& s = x.shared;
    const std::lock_guard lock(s.objects_mutex);
    const auto it = s.objects.find(stored_at(x, path));
    if (it == s.objects.end()) return false;
    out = it->second;
    return true;
}

}  // namespace

bool has_object(exchange& x, const std::string& path) {
    stored_object ignored;
    return find_object(x, path, ignored);
}

namespace {

std::string with_status(std::string json, std::string_view status) {
    const auto at = json.find("\"status\":\"");
    if (at == std::string::npos) return json;
    const auto from = at + 10;
    return json.replace(from, json.find('"', from) - from, status);
}

// What a caller gets of a page: members, and whether more follow.
std::string list(exchange& x, const place& p) {
    std::vector<std::pair<std::uint64_t, const std::pair<const std::string, stored_object>*>> all;
    server& s = x.shared;
    const std::lock_guard lock(s.objects_mutex);
    const std::string prefix = stored_at(x, p.collection + "/");
    for (auto it = s.objects.lower_bound(prefix); it != s.objects.end(); ++it) {
        if (!it->first.starts_with(prefix)) break;
        if (it->first.find('/', prefix.size()) == std::string::npos)
            all.emplace_back(it->second.number, &*it);
    }
    std::ranges::sort(all);
    if (x.in.query_value("order") != "asc") std::ranges::reverse(all);
    const auto id_of = [&](const auto& one) {
        return std::string_view(one.second->first).substr(prefix.size());
    };
    const auto position = [&](const std::string& id) {
        return static_cast<std::size_t>(
            std::ranges::find_if(all, [&](const auto& one) { return id_of(one) == id; }) -
            all.begin());
    };
    std::size_t from = 0;
    std::size_t to = all.size();
    if (const auto after = x.in.query_value("after"); !after.empty())
        from = std::min(position(after) + 1, to);
    if (const auto before = x.in.query_value("before"); !before.empty())
        to = std::max(std::min(position(before), to), from);
    std::size_t limit = p.of->path == "files" ? 10'000 : 20;
    if (const auto text = x.in.query_value("limit"); !text.empty())
        limit = static_cast<std::size_t>(std::max(1, std::atoi(text.c_str())));
    const bool more = to - from > limit;
    to = std::min(to, from + limit);
    std::string out = "{\"object\":\"list\",\"data\":[";
    for (std::size_t i = from; i < to; ++i) {
        if (i > from) out += ',';
        out += all[i].second->second.json;
    }
    out += "],\"first_id\":";
    out += from < to ? json_text(id_of(all[from])) : "null";
    out += ",\"last_id\":";
    out += from < to ? json_text(id_of(all[to - 1])) : "null";
    return out + ",\"has_more\":" + (more ? "true}" : "false}");
}

// Its own fields, then the client's.
std::string make_json(exchange& x, const family& f, const std::string& id,
                      std::string_view more = {}) {
    std::string out = "{\"id\":" + json_text(id) + ",\"object\":" + json_text(f.object);
    const auto stamp = std::to_string(std::stoll(std::string(created_at)) +
                                      static_cast<std::int64_t>(x.record.number));
    out += ",\"created_at\":" + stamp;
    if (f.path == "chat/completions") out += ",\"created\":" + stamp;
    out += ",\"status\":" + json_text(f.status);
    out += more;
    for (const auto& [name, value] : x.in.json.all())
        if (name != "id" && name != "object" && name != "created_at" && name != "status")
            out.append(",\"").append(name).append("\":").append(value);
    return out + "}";
}

std::string new_id(const exchange& x, std::string_view prefix, std::string_view tail = {}) {
    return std::string(prefix) + std::to_string(x.record.number) + std::string(tail);
}

const family& family_of(std::string_view path) {
    return *std::ranges::find(families, path, &family::path);
}

// A file that something else has made.
std::string make_file(exchange& x, std::string_view purpose, std::string content) {
    const auto id = new_id(x, "file-mock", "o");
    std::string body = "{\"id\":" + json_text(id) +
                       ",\"object\":\"file\",\"bytes\":" + std::to_string(content.size()) +
                       ",\"created_at\":" + std::string(created_at) +
                       ",\"filename\":\"made.jsonl\",\"purpose\":" + json_text(purpose) +
                       ",\"status\":\"processed\"}";
    store_object(x, "/files/" + id, {body, std::move(content)});
    return id;
}

net::task<void> create_file(exchange& x) {
    const form_part* file = x.in.form ? x.in.form->first_file() : nullptr;
    if (!file || !x.in.form->complete()) {
        co_await x.refuse(400, {}, "A multipart body with a file is needed.");
        co_return;
    }
    const auto purpose = x.in.field("purpose");
    std::string more;
    more += ",\"bytes\":" + std::to_string(file->bytes);
    more += ",\"filename\":" + json_text(file->filename);
    more += ",\"purpose\":" + json_text(purpose.empty() ? "assistants" : purpose);
    more += ",\"sha256\":" + json_text(file->sha256);
    const auto id = new_id(x, "file-mock");
    const auto body = make_json(x, family_of("files"), id, more);
    store_object(x, "/files/" + id, {body, file->content});
    co_await x.json(body);
}

// How long-lived work is answered when it is ordered, what it is from then on, and what it costs.
struct long_work {
    std::string_view family;
    std::string_view ordered;
    std::string_view ended;
    token_count bill;
    std::string_view told;  // by the ended object
};
constexpr std::array long_works{
    long_work{"batches",
              "validating",
              "completed",
              {.input = 1000, .output = 200, .cached = 100},
              ",\"model\":\"gpt-4o-mini\",\"usage\":{\"input_tokens\":1000,"
              "\"input_tokens_details\":{\"cached_tokens\":100},\"output_tokens\":200,"
              "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":1200}"},
    long_work{"fine_tuning/jobs",
              "validating_files",
              "succeeded",
              {.input = 5000},
              ",\"trained_tokens\":5000"},
    long_work{"videos", "queued", "completed", {}, ",\"progress\":100"},
};

// What is made along with an object.
std::string more_of(exchange& x, const place& p, const std::string& id) {
    const std::string_view path = p.of->path;
    if (path == "batches") {
        const auto out = make_file(x, "batch_output", "{\"custom_id\":\"1\"}\n");
        return ",\"errors\":null,\"output_file_id\":" + json_text(out) +
               ",\"request_counts\":{\"total\":0,\"completed\":0,\"failed\":0}";
    }
    if (path == "fine_tuning/jobs") {
        const auto out = make_file(x, "fine-tune-results", "step\n");
        for (const std::string_view child : {"events", "checkpoints"}) {
            const family& f = family_of("fine_tuning/jobs/*/" + std::string(child));
            const auto child_id = new_id(x, f.prefix);
            store_object(x, p.path() + id + "/" + std::string(child) + "/" + child_id,
                         {"{\"id\":" + json_text(child_id) + ",\"object\":" + json_text(f.object) +
                              ",\"created_at\":" + std::string(created_at) + "}",
                          {}});
        }
        return ",\"result_files\":[" + json_text(out) +
               "],\"fine_tuned_model\":" + json_text(new_id(x, "ft:gpt-4o-mini:mock:"));
    }
    if (path == "uploads/*/parts") {
        const form_part* part = x.in.form ? x.in.form->find("data") : nullptr;
        return ",\"upload_id\":" + json_text(split(p.parent).back()) +
               ",\"bytes\":" + std::to_string(part ? part->bytes : 0) +
               ",\"sha256\":" + json_text(part ? part->sha256 : std::string());
    }
    if (path == "threads/*/runs" || path == "threads/*/messages")
        return ",\"thread_id\":" + json_text(split(p.parent).back());
    if (path == "evals/*/runs") return ",\"eval_id\":" + json_text(split(p.parent).back());
    return {};
}

net::task<void> create(exchange& x, place p) {
    const std::string_view path = p.of->path;
    stored_object parent;
    if (!p.parent.empty() && !find_object(x, p.parent, parent)) {
        co_await x.refuse(404);
        co_return;
    }
    if (path == "files") {
        co_await create_file(x);
        co_return;
    }
    if (path == "uploads/*/parts" &&
        (!x.in.form || !x.in.form->find("data") || !x.in.form->complete())) {
        co_await x.refuse(400, {}, "A multipart body with `data` is needed.");
        co_return;
    }
    std::string id = new_id(x, p.of->prefix);
    // A file in a vector store goes by the file's id.
    if (path == "vector_stores/*/files") id = x.in.json.text("file_id");
    auto body = make_json(x, *p.of, id, more_of(x, p, id));
    if (path == "videos") {
        for (const auto& [name, usual] : {std::pair("seconds", "4"), std::pair("size", "720x1280")})
            if (const auto given = x.in.field(name); x.in.json.raw(name).empty())
                body.insert(body.size() - 1, std::string(",\"") + name +
                                                 "\":" + json_text(given.empty() ? usual : given));
    }
    token_count bill;
    if (const auto* work = std::ranges::find(long_works, path, &long_work::family);
        work != long_works.end()) {
        // Billed when it is ordered; whoever asks for it finds it done, once for all.
        auto ended = with_status(body, work->ended);
        ended.insert(ended.size() - 1, work->told);
        store_object(x, p.collection + "/" + id, {std::move(ended), "content of " + id});
        body = with_status(std::move(body), work->ordered);
        bill = work->bill;
    } else {
        store_object(x, p.collection + "/" + id, {body, "content of " + id});
    }
    if (path == "threads/*/runs" || path == "evals/*/runs") {
        const family& f = family_of(path == "threads/*/runs" ? "threads/*/runs/*/steps"
                                                             : "evals/*/runs/*/output_items");
        const auto child = new_id(x, f.prefix);
        const auto words = split(f.path);
        store_object(x, p.collection + "/" + id + "/" + std::string(words.back()) + "/" + child,
                     {"{\"id\":" + json_text(child) + ",\"object\":" + json_text(f.object) +
                          ",\"created_at\":" + std::string(created_at) +
                          ",\"status\":" + json_text(f.status) + "}",
                      {}});
    }
    if (path == "conversations/*/items") {
        co_await x.json("{\"object\":\"list\",\"data\":[" + body + "],\"first_id\":" +
                        json_text(id) + ",\"last_id\":" + json_text(id) + ",\"has_more\":false}");
        co_return;
    }
    if (path == "threads/*/runs" && x.in.json.yes("stream")) {
        const auto event = [](std::string_view name, std::string_view data) {
            return "event: " + std::string(name) + "\ndata: " + std::string(data) + "\n\n";
        };
        co_await x.answer(200, "text/event-stream",
                          event("thread.run.created", body) + event("thread.run.completed", body) +
                              event("done", "[DONE]"));
        co_return;
    }
    const int status = path == "evals" || path == "evals/*/runs" ? 201 : 200;
    co_await x.answer(status, "application/json", body, bill);
}

// POST /threads/runs: a thread and its first run.
net::task<void> create_thread_and_run(exchange& x) {
    const auto thread = new_id(x, "thread_mock");
    store_object(x, "/threads/" + thread, {make_json(x, family_of("threads"), thread), {}});
    place p = take_apart("/v1/threads/" + thread + "/runs");
    co_await create(x, p);
}

// A POST to what is there.
net::task<void> act(exchange& x, const place& p, const stored_object& found) {
    if (p.verb == "search") {
        co_await x.json(
            "{\"object\":\"vector_store.search_results.page\",\"search_query\":[\"q\"],\"data\":[]"
            ",\"has_more\":false,\"next_page\":null}");
        co_return;
    }
    if (p.verb == "remix") {
        place all = p;
        all.id.clear();
        co_await create(x, all);
        co_return;
    }
    std::string body = found.json;
    if (p.verb == "cancel") body = with_status(body, "cancelled");
    if (p.verb == "pause") body = with_status(body, "paused");
    if (p.verb == "resume") body = with_status(body, "running");
    if (p.verb == "complete") {
        body = with_status(body, "completed");
        const auto file = make_file(x, "assistants", "parts");
        stored_object made;
        find_object(x, "/files/" + file, made);
        body.insert(body.size() - 1, ",\"file\":" + made.json);
    }
    store_object(x, p.path(), {body, found.content});
    co_await x.json(body);
}

net::task<void> remove(exchange& x, place p) {
    const std::string path = p.path();
    bool there = false;
    {
        const std::lock_guard lock(x.shared.objects_mutex);
        const auto from = x.shared.objects.find(stored_at(x, path));
        there = from != x.shared.objects.end();
        if (there) x.shared.objects.erase(from);
    }
    if (there) {
        const std::string suffix =
            p.of->path == "files" || p.of->path == "responses" ? "" : ".deleted";
        co_await x.json("{\"id\":" + json_text(p.id) + ",\"object\":\"" +
                        std::string(p.of->object) + suffix + "\",\"deleted\":true}");
    } else {
        co_await x.refuse(404);
    }
}

}  // namespace

void store_object(exchange& x, const std::string& path, stored_object o) {
    server& s = x.shared;
    const std::lock_guard lock(s.objects_mutex);
    const std::string key = stored_at(x, path);
    const auto held = s.objects.find(key);
    o.number = held == s.objects.end() ? s.next_object++ : held->second.number;
    if (held == s.objects.end()) s.object_order.push_back(key);
    s.objects.insert_or_assign(key, std::move(o));
    while (s.object_order.size() > server::object_limit) {
        s.objects.erase(s.object_order.front());
        s.object_order.pop_front();
    }
}

std::string missing_object(exchange& x) {
    std::string_view body = x.in.body;
    for (auto at = body.find("mock"); at != std::string_view::npos;
         at = body.find("mock", at + 4)) {
        const auto begin = body.rfind('"', at);
        const auto end = body.find('"', at);
        if (begin == std::string_view::npos || end == std::string_view::npos) break;
        const auto id = body.substr(begin + 1, end - begin - 1);
        for (const auto& [prefix, collection] : places) {
            stored_object found;
            if (id.starts_with(prefix) &&
                !find_object(x, std::string(collection) + std::string(id), found))
                return std::string(id);
        }
    }
    return {};
}

// Calls are answered by an SDP and told in a header; secrets for browsers name their session.
net::task<bool> realtime(exchange& x) {
    std::string_view path = x.in.path;
    constexpr std::string_view calls = "/v1/realtime/calls";
    if (path == calls) {
        const auto id = new_id(x, "rtc_mock");
        store_object(x, "/realtime/calls/" + id, {"{}", {}});
        x.extra.emplace_back("location", "/v1/realtime/calls/" + id);
        co_await x.answer(201, "application/sdp", "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\n");
        co_return true;
    }
    if (path.starts_with(calls)) {
        path.remove_prefix(3);
        const std::string call(path.substr(0, path.rfind('/')));
        if (has_object(x, call))
            co_await x.answer(200, "application/json", "");
        else
            co_await x.refuse(404, "call_id_not_found",
                              "No session found for the provided call_id");
        co_return true;
    }
    if (path != "/v1/realtime/client_secrets") co_return false;
    co_await x.json("{\"value\":" + json_text(new_id(x, "ek_mock")) +
                    ",\"expires_at\":" + std::string(created_at) +
                    ",\"session\":{\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":" +
                    json_text(new_id(x, "sess_mock")) + ",\"model\":\"gpt-realtime\"}}");
    co_return true;
}

net::task<bool> objects(exchange& x) {
    const bool post = x.in.method == "POST";
    if (post && x.in.path.starts_with("/v1/realtime/")) co_return co_await realtime(x);
    if (post && x.in.path == "/v1/threads/runs") {
        co_await create_thread_and_run(x);
        co_return true;
    }
    const place p = take_apart(x.in.path);
    if (p.of == nullptr) co_return false;
    if (p.id.empty()) {
        const bool listed = p.of->path != "responses" && p.of->path != "uploads" &&
                            p.of->path != "conversations" && p.of->path != "threads";
        stored_object parent;
        if (post) {
            co_await create(x, p);
        } else if (!listed) {
            co_return false;
        } else if (!p.parent.empty() && !find_object(x, p.parent, parent)) {
            co_await x.refuse(404);
        } else {
            co_await x.json(list(x, p));
        }
        co_return true;
    }
    stored_object found;
    if (x.in.method == "DELETE") {
        co_await remove(x, p);
    } else if (!find_object(x, p.path(), found)) {
        co_await x.refuse(404);
    } else if (post) {
        co_await act(x, p, found);
    } else if (p.verb == "content") {
        co_await x.answer(200, "application/octet-stream", found.content);
    } else if (p.verb == "input_items" || p.verb == "messages") {
        co_await x.json(
            "{\"object\":\"list\",\"data\":[{\"id\":\"msg_mock0\",\"type\":\"message\",\"role\":"
            "\"user\",\"status\":\"completed\",\"content\":[]}],\"first_id\":\"msg_mock0\","
            "\"last_id\":\"msg_mock0\",\"has_more\":false}");
    } else {
        co_await x.json(found.json);
    }
    co_return true;
}

}  // namespace kw::mock
