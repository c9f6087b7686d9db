// Things that stay: files, uploads, batches and stored responses.
#include "core/json_writer.hpp"
#include "mock/answers.hpp"

namespace kw::mock {
namespace {

struct place {
    std::string family;  // "files"
    std::string id;
    std::string verb;
};

place take_apart(const std::string& path) {
    place p;
    std::string_view rest = path;
    rest.remove_prefix(std::min<std::size_t>(rest.size(), 4));  // "/v1/"
    std::string* const out[] = {&p.family, &p.id, &p.verb};
    for (std::string* part : out) {
        const auto slash = rest.find('/');
        *part = rest.substr(0, slash);
        if (slash == std::string_view::npos) break;
        rest.remove_prefix(slash + 1);
    }
    return p;
}

bool find_object(server& s, const std::string& id, stored_object& out) {
    const std::lock_guard lock(s.objects_mutex);
    const auto it = s.objects.find(id);
    if (it == s.objects.end()) return false;
    out = it->second;
    return true;
}

std::string list(server& s, const std::string& prefix) {
    const std::lock_guard lock(s.objects_mutex);
    std::string out = "{\"object\":\"list\",\"data\":[";
    bool first = true;
    for (auto it = s.objects.lower_bound(prefix); it != s.objects.end(); ++it) {
        if (!it->first.starts_with(prefix)) break;
        if (!first) out += ',';
        first = false;
        out += it->second.json;
    }
    return out + "],\"has_more\":false}";
}

net::task<void> create_file(exchange& x) {
    const form_part* file = x.in.form ? x.in.form->first_file() : nullptr;
    if (!file || !x.in.form->complete()) {
        co_await x.refuse(400, {}, "A multipart body with a file is needed.");
        co_return;
    }
    const std::string id = "file-mock" + std::to_string(x.record.number);
    const auto purpose = x.in.field("purpose");
    std::string body;
    json_writer w(body);
    w.begin_object().field("id", id).field("object", "file").field("bytes", file->bytes);
    w.key("created_at").raw(created_at).field("filename", file->filename);
    w.field("purpose", purpose.empty() ? std::string("assistants") : purpose);
    w.field("status", "processed").field("sha256", file->sha256).end_object();
    store_object(x.shared, id, {body, file->content});
    co_await x.json(body);
}

net::task<void> create_batch(exchange& x) {
    const std::string id = "batch_mock" + std::to_string(x.record.number);
    std::string body;
    json_writer w(body);
    w.begin_object().field("id", id).field("object", "batch");
    w.field("endpoint", x.in.json.text("endpoint")).key("errors").null();
    w.field("input_file_id", x.in.json.text("input_file_id"));
    w.field("completion_window", "24h").field("status", "validating");
    w.key("created_at").raw(created_at).key("request_counts").begin_object();
    w.field("total", 0).field("completed", 0).field("failed", 0).end_object().end_object();
    store_object(x.shared, id, {body, {}});
    co_await x.json(body);
}

std::string upload_body(const std::string& id, std::string_view status) {
    return "{\"id\":" + json_text(id) + ",\"object\":\"upload\",\"status\":\"" +
           std::string(status) + "\",\"created_at\":" + std::string(created_at) + "}";
}

net::task<void> uploads(exchange& x, place p) {
    if (p.id.empty()) {
        p.id = "upload_mock" + std::to_string(x.record.number);
        const auto body = upload_body(p.id, "pending");
        store_object(x.shared, p.id, {body, {}});
        co_await x.json(body);
    } else if (p.verb == "parts") {
        const form_part* part = x.in.form ? x.in.form->find("data") : nullptr;
        if (!part || !x.in.form->complete()) {
            co_await x.refuse(400, {}, "A multipart body with `data` is needed.");
            co_return;
        }
        co_await x.json("{\"id\":\"part_mock" + std::to_string(x.record.number) +
                        "\",\"object\":\"upload.part\",\"created_at\":" + std::string(created_at) +
                        ",\"upload_id\":" + json_text(p.id) + ",\"bytes\":" +
                        std::to_string(part->bytes) + ",\"sha256\":\"" + part->sha256 + "\"}");
    } else {
        const auto body = upload_body(p.id, p.verb == "cancel" ? "cancelled" : "completed");
        store_object(x.shared, p.id, {body, {}});
        co_await x.json(body);
    }
}

net::task<void> delete_object(exchange& x, place p) {
    bool there = false;
    {
        const std::lock_guard lock(x.shared.objects_mutex);
        there = x.shared.objects.erase(p.id) > 0;
    }
    if (there) {
        const std::string_view type = p.family == "files" ? "file" : "response";
        co_await x.json("{\"id\":" + json_text(p.id) + ",\"object\":\"" + std::string(type) +
                        "\",\"deleted\":true}");
    } else {
        co_await x.refuse(404);
    }
}

}  // namespace

void store_object(server& s, const std::string& id, stored_object o) {
    const std::lock_guard lock(s.objects_mutex);
    s.objects.insert_or_assign(id, std::move(o));
    if (s.objects.size() > server::object_limit) s.objects.erase(s.objects.begin());
}

net::task<bool> objects(exchange& x) {
    const place p = take_apart(x.in.path);
    const bool post = x.in.method == "POST";
    if (p.family == "uploads" && post) {
        co_await uploads(x, p);
        co_return true;
    }
    if (p.family != "files" && p.family != "batches" && p.family != "responses") co_return false;
    if (p.id.empty()) {
        if (post && p.family == "files") {
            co_await create_file(x);
        } else if (post && p.family == "batches") {
            co_await create_batch(x);
        } else if (!post && p.family != "responses") {
            co_await x.json(list(x.shared, p.family == "files" ? "file-mock" : "batch_mock"));
        } else {
            co_return false;
        }
        co_return true;
    }
    if (x.in.method == "DELETE") {
        co_await delete_object(x, p);
        co_return true;
    }
    stored_object found;
    if (!find_object(x.shared, p.id, found)) {
        co_await x.refuse(404);
    } else if (p.verb == "content") {
        co_await x.answer(200, "application/octet-stream", found.content);
    } else {
        co_await x.json(found.json);
    }
    co_return true;
}

}  // namespace kw::mock
