// Sums, entries and sightings, and their JSON.
#include "mock/books.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "core/base64.hpp"
#include "core/json_writer.hpp"

namespace kw::mock {
namespace {

constexpr std::size_t seen_limit = 64U << 20;
constexpr std::size_t endpoint_limit = 500;

void add(sums& s, const entry& e) {
    ++s.requests;
    const std::string_view outcome = e.outcome;
    if (outcome == "refused") ++s.refused;
    if (outcome == "completed") ++s.completed;
    if (outcome == "aborted") ++s.aborted;
    if (outcome == "cut") ++s.cut;
    s.tokens.input += e.tokens.input;
    s.tokens.output += e.tokens.output;
    s.tokens.cached += e.tokens.cached;
    s.tokens.reasoning += e.tokens.reasoning;
    s.tokens.audio_in += e.tokens.audio_in;
    s.tokens.audio_out += e.tokens.audio_out;
    s.bytes_in += e.bytes_in;
    s.bytes_out += e.bytes_out;
    auto it = s.by.find(e.endpoint);
    if (it == s.by.end()) {
        it = s.by.try_emplace(s.by.size() < endpoint_limit ? e.endpoint : "other").first;
    }
    ++it->second[e.status];
    if (s.active > 0) --s.active;
}

void write(json_writer& w, const token_count& t) {
    w.field("input_tokens", t.input).field("output_tokens", t.output);
    w.field("cached_tokens", t.cached).field("reasoning_tokens", t.reasoning);
    w.field("audio_input_tokens", t.audio_in).field("audio_output_tokens", t.audio_out);
}

void write(json_writer& w, const sums& s) {
    w.begin_object().field("requests", s.requests).field("refused", s.refused);
    w.field("completed", s.completed).field("aborted", s.aborted).field("cut", s.cut);
    write(w, s.tokens);
    w.field("bytes_in", s.bytes_in).field("bytes_out", s.bytes_out).field("active", s.active);
    w.field("max_concurrent", s.max_concurrent).key("by").begin_object();
    for (const auto& [endpoint, statuses] : s.by) {
        w.key(endpoint).begin_object();
        for (const auto& [status, n] : statuses)
            w.field(std::to_string(status), n);
        w.end_object();
    }
    w.end_object().end_object();
}

void write(json_writer& w, const entry& e) {
    w.begin_object().field("id", e.id).field("request_id", "mock-" + std::to_string(e.number));
    w.field("key", e.key).field("model", e.model).field("endpoint", e.endpoint);
    w.field("test_id", e.test_id).field("status", e.status).field("outcome", e.outcome);
    w.field("stream", e.stream);
    if (e.close_code != 0) w.field("close_code", e.close_code);
    write(w, e.tokens);
    w.field("bytes_in", e.bytes_in).field("bytes_out", e.bytes_out);
    w.field("start_ms", e.start_ms).field("end_ms", e.end_ms);
    w.field("sent_sha256", e.sent_sha256);
    w.field("received_sha256", e.received_sha256).end_object();
}

void write(json_writer& w, const header_list& headers) {
    w.begin_array();
    for (const auto& [name, value] : headers) {
        w.begin_array().value(name).value(value).end_array();
    }
    w.end_array();
}

bool valid_utf8(const std::string& text) {
    // The JSON parser checks it; a string literal of our own escapes what would end it.
    std::string literal = "\"";
    for (const char c : text) {
        literal += static_cast<unsigned char>(c) < ' ' || c == '"' || c == '\\' ? '.' : c;
    }
    literal += '"';
    boost::system::error_code ec;
    const auto parsed = boost::json::parse(literal, ec);
    return !ec;
}

void write(json_writer& w, const sighting& s) {
    w.begin_object().field("request_id", "mock-" + std::to_string(s.number));
    w.field("connection", s.connection).field("method", s.method).field("target", s.target);
    w.field("version", s.version).key("head");
    write(w, s.headers);
    w.field("raw_head", to_base64(s.raw_head)).field("body_bytes", s.body_bytes);
    w.field("body_sha256", s.body_sha256).key("body");
    if (valid_utf8(s.body)) {
        w.value(s.body);
    } else {
        w.null();
    }
    w.field("body_base64", to_base64(s.body)).key("trailers");
    write(w, s.trailers);
    w.end_object();
}

}  // namespace

void books::open(const std::string& key) {
    const std::lock_guard lock(mutex_);
    for (sums* s : {&total_, &keys_[key]}) {
        s->max_concurrent = std::max(s->max_concurrent, ++s->active);
    }
}

void books::close(entry e) {
    const std::lock_guard lock(mutex_);
    e.id = next_id_++;
    add(total_, e);
    add(keys_[e.key], e);
    entries_.push_back(std::move(e));
    if (entries_.size() > keep_entries_) {
        entries_.pop_front();
        ++dropped_;
    }
}

void books::saw(sighting s) {
    const std::lock_guard lock(mutex_);
    seen_bytes_ += s.raw_head.size() * 2 + s.body.size();
    seen_.push_back(std::move(s));
    while (seen_.size() > keep_seen_ || (seen_bytes_ > seen_limit && seen_.size() > 1)) {
        seen_bytes_ -= seen_.front().raw_head.size() * 2 + seen_.front().body.size();
        seen_.pop_front();
    }
}

void books::reset() {
    const std::lock_guard lock(mutex_);
    // What is under way stays counted as such, or its end would be counted against nothing.
    for (auto& [key, s] : keys_) {
        const auto active = s.active;
        s = sums{};
        s.active = s.max_concurrent = active;
    }
    std::erase_if(keys_, [](const auto& k) { return k.second.active == 0; });
    const auto active = total_.active;
    total_ = sums{};
    total_.active = total_.max_concurrent = active;
    entries_.clear();
    seen_.clear();
    seen_bytes_ = 0;
    next_id_ = 1;
    dropped_ = 0;
}

std::string books::render(std::uint64_t after, std::size_t limit) const {
    const std::lock_guard lock(mutex_);
    std::string out;
    json_writer w(out);
    w.begin_object().key("total");
    write(w, total_);
    w.key("keys").begin_object();
    for (const auto& [key, s] : keys_) {
        w.key(key);
        write(w, s);
    }
    w.end_object().key("entries").begin_array();
    auto it = std::ranges::upper_bound(entries_, after, {}, &entry::id);
    std::uint64_t last = after;
    for (; it != entries_.end() && limit > 0; ++it, --limit) {
        write(w, *it);
        last = it->id;
    }
    w.end_array().key("next");
    if (it != entries_.end()) {
        w.value(last);
    } else {
        w.null();
    }
    w.field("active", total_.active).field("dropped", dropped_).end_object();
    return out;
}

std::string books::render_seen(std::size_t last, std::string_view test_id) const {
    const std::lock_guard lock(mutex_);
    std::deque<const sighting*> chosen;
    for (auto it = seen_.rbegin(); it != seen_.rend() && chosen.size() < last; ++it) {
        if (test_id.empty() || it->test_id == test_id) chosen.push_front(&*it);
    }
    std::string out;
    json_writer w(out);
    w.begin_array();
    for (const sighting* s : chosen)
        write(w, *s);
    w.end_array();
    return out;
}

}  // namespace kw::mock
