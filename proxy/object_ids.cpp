// The tables of families and ids, and the reader that finds ids in JSON.
#include "proxy/object_ids.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "usage/scan_bytes.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace kw::proxy {
namespace {

constexpr std::size_t max_id = 256;

struct family {
    std::string_view path;  // of the collection
    object_keep keep = object_keep::lasting;
    bool lists = false;
    bool spread = false;  // new ones go wherever the strategy says
    bool items = false;
    bool gettable = true;
    usage::late_kind late = usage::late_kind::none;
};

using usage::late_kind;

// Longer paths before those that they begin with.
constexpr std::array families{
    family{.path = "files", .lists = true},
    family{.path = "uploads", .keep = object_keep::brief, .gettable = false},
    family{.path = "batches", .lists = true, .late = late_kind::batch},
    family{.path = "vector_stores", .lists = true},
    family{.path = "fine_tuning/jobs", .lists = true, .late = late_kind::fine_tuning},
    family{.path = "fine_tuning/checkpoints", .gettable = false},
    family{.path = "responses",
           .keep = object_keep::response,
           .spread = true,
           .items = true,
           .late = late_kind::response},
    family{.path = "conversations", .items = true},
    family{.path = "assistants", .lists = true},
    family{.path = "threads"},
    family{.path = "evals", .lists = true},
    family{.path = "containers", .keep = object_keep::brief, .lists = true},
    family{.path = "videos/characters"},
    family{.path = "videos",
           .keep = object_keep::response,
           .lists = true,
           .spread = true,
           .late = late_kind::video},
    family{.path = "skills", .lists = true},
    family{
        .path = "chat/completions", .keep = object_keep::response, .lists = true, .spread = true},
    family{.path = "chatkit/sessions", .keep = object_keep::brief, .gettable = false},
    family{.path = "chatkit/threads", .lists = true},
    family{.path = "messages/batches"},
    family{.path = "audio/voice_consents", .lists = true},
    family{.path = "realtime/calls", .keep = object_keep::brief, .gettable = false},
    family{.path = "realtime/client_secrets", .keep = object_keep::brief, .gettable = false},
    family{.path = "realtime/sessions", .keep = object_keep::brief, .gettable = false},
    family{
        .path = "realtime/transcription_sessions", .keep = object_keep::brief, .gettable = false},
};

// What follows a collection and is no id.
constexpr std::array<std::string_view, 5> verbs = {"input_tokens", "compact", "edits", "extensions",
                                                   "runs"};

// What is done to an object and answered with it.
constexpr std::array<std::string_view, 6> acts_on_itself = {"/cancel", "/pause", "/resume",
                                                            "/remix",  "/edits", "/extensions"};

constexpr std::array kinds{
    id_kind{"file-", "/files/"},
    id_kind{"file_", "/files/"},
    id_kind{"batch_", "/batches/"},
    id_kind{"resp_", "/responses/", true, object_keep::response},
    id_kind{"conv_", "/conversations/"},
    id_kind{"vs_", "/vector_stores/"},
    id_kind{"ftjob-", "/fine_tuning/jobs/"},
    id_kind{"asst_", "/assistants/"},
    id_kind{"thread_", "/threads/"},
    id_kind{"eval_", "/evals/"},
    id_kind{"video_", "/videos/", true, object_keep::response},
    id_kind{"skill_", "/skills/"},
    id_kind{"cntr_", "/containers/", true, object_keep::brief},
    id_kind{"upload_", "", true, object_keep::brief},
    id_kind{"sess_", "", true, object_keep::brief},
    id_kind{"vsfb_", ""},
    id_kind{"ft:", "/models/"},
    id_kind{"msg_", "", false, object_keep::response},
    id_kind{"rs_", "", false, object_keep::response},
    id_kind{"fc_", "", false, object_keep::response},
    id_kind{"ws_", "", false, object_keep::response},
    id_kind{"fs_", "", false, object_keep::response},
    id_kind{"ci_", "", false, object_keep::response},
    id_kind{"ig_", "", false, object_keep::response},
    id_kind{"mcp_", "", false, object_keep::response},
    id_kind{"ctc_", "", false, object_keep::response},
};

// Keys whose values are ids of objects, whatever these look like.
constexpr std::array<std::string_view, 28> references = {
    "file_id",          "file_ids",         "input_file_id",
    "output_file_id",   "error_file_id",    "previous_response_id",
    "response_id",      "conversation",     "conversation_id",
    "vector_store_id",  "vector_store_ids", "container",
    "container_id",     "thread_id",        "assistant_id",
    "training_file",    "validation_file",  "result_files",
    "fine_tuned_model", "eval_id",          "video_id",
    "upload_id",        "skill_id",         "batch_id",
    "image_file_id",    "mask_file_id",     "input_file",
    "file_batch_id"};

std::string_view base_removed(std::string_view path, std::size_t& at) noexcept {
    at = 0;
    for (;;) {
        if (at >= path.size() || path[at] != '/') return {};
        const std::string_view rest = path.substr(at + 1);
        const auto segment = rest.substr(0, rest.find('/'));
        if (segment != "v1" && segment != "openai" && segment != "api") return rest;
        at += 1 + segment.size();
    }
}

// Whether `needle` stands in `text`; the search goes by its first character and the one at
// `second`, 16 places a step.
bool contains(std::string_view text, std::string_view needle, std::size_t second) noexcept {
    const char* p = text.data();
    const char* const end = p + text.size();
#if defined(__SSE2__)
    const __m128i a = _mm_set1_epi8(needle.front());
    const __m128i b = _mm_set1_epi8(needle[second]);
    for (; end - p >= static_cast<std::ptrdiff_t>(16 + needle.size()); p += 16) {
        const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        const __m128i y = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + second));
        auto mask = static_cast<unsigned>(
            _mm_movemask_epi8(_mm_and_si128(_mm_cmpeq_epi8(x, a), _mm_cmpeq_epi8(y, b))));
        for (; mask != 0; mask &= mask - 1) {
            const char* at = p + std::countr_zero(mask);
            if (std::memcmp(at, needle.data(), needle.size()) == 0) return true;
        }
    }
#endif
    return std::string_view(p, static_cast<std::size_t>(end - p)).find(needle) !=
           std::string_view::npos;
}

// A letter of a key could be written as an escape.
bool has_ascii_escape(std::string_view body) noexcept {
    return contains(body, "\\u00", 1);
}

}  // namespace

const id_kind* kind_of(std::string_view id) noexcept {
    for (const id_kind& k : kinds)
        if (id.size() > k.prefix.size() && id.starts_with(k.prefix)) return &k;
    return nullptr;
}

bool is_object_id(std::string_view id) noexcept {
    if (id.empty() || id.size() > max_id) return false;
    return std::ranges::all_of(id, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == ':' || c == '.';
    });
}

object_route route_objects(std::string_view method, std::string_view path) noexcept {
    object_route r;
    std::size_t base = 0;
    const std::string_view rest = base_removed(path, base);
    const bool post = method == "POST";
    const family* of = nullptr;
    r.base = path.substr(0, base);
    for (const family& f : families) {
        if (rest.starts_with(f.path) &&
            (rest.size() == f.path.size() || rest[f.path.size()] == '/')) {
            of = &f;
            break;
        }
    }
    if (of == nullptr) {
        r.refers = post && (rest == "messages" || rest.starts_with("images/"));
        return r;
    }
    std::string_view tail = rest.substr(of->path.size());
    while (tail.ends_with('/'))
        tail.remove_suffix(1);
    const std::size_t collection = base + 1 + of->path.size();
    r.any = true;
    r.keep = of->keep;
    r.items = of->items;
    r.gettable = of->gettable;
    r.refers = post;
    r.object = path.substr(0, collection);
    if (!tail.empty()) {
        const auto segment = tail.substr(1, tail.find('/', 1) - 1);
        if (std::ranges::find(verbs, segment) == verbs.end()) {
            r.id = segment;
            r.object = path.substr(0, collection + 1 + segment.size());
        }
    }
    const bool chat = of->path == "chat/completions";
    r.creates = post && r.id.empty() && !chat;
    r.places = r.creates && !of->spread;
    r.lists = method == "GET" && of->lists && tail.empty();
    r.learns = (post || method == "GET") && !r.lists && !chat && tail != "/input_tokens";
    if (!r.id.empty() && tail.ends_with("/remix")) r.creates = true;
    // The object itself, not what belongs to it.
    const bool itself = r.object.size() == base + 1 + of->path.size() + tail.size();
    const bool acts = post && std::ranges::any_of(acts_on_itself, [&](std::string_view verb) {
                          return tail.ends_with(verb);
                      });
    if ((itself || acts) && tail != "/input_tokens" && tail != "/compact" &&
        (post || method == "GET"))
        r.late = of->late;
    return r;
}

bool may_refer(std::string_view body) noexcept {
    return contains(body, "file_id", 4) || has_ascii_escape(body);
}

bool may_refer_to_state(std::string_view body) noexcept {
    return contains(body, "_id", 1) || contains(body, "\"conversation\"", 4) ||
           contains(body, "\"container\"", 4) || contains(body, "item_reference", 4) ||
           has_ascii_escape(body);
}

std::vector<object_ref> find_refs(std::string_view body, std::size_t most) {
    id_reader reader;
    reader.request_ = true;
    reader.read(body);
    std::vector<object_ref> out;
    for (auto& f : reader.take()) {
        if (out.size() == most) break;
        if (std::ranges::any_of(out, [&](const object_ref& r) { return r.id == f.id; })) continue;
        const id_kind* kind = kind_of(f.id);
        object_ref ref;
        ref.firm = kind == nullptr || kind->firm;
        if (kind != nullptr && !kind->collection.empty())
            ref.place = std::string(kind->collection) + f.id;
        ref.id = std::move(f.id);
        out.push_back(std::move(ref));
    }
    return out;
}

void id_reader::start(bool creates, bool items, bool events, std::string_view encoding) {
    creates_ = creates;
    items_ = items;
    events_ = events;
    decoder_.start(usage::parse_encoding(encoding));
    found_.clear();
    other_ = nullptr;
    reset();
}

void id_reader::note(std::string_view id) {
    if (is_object_id(id)) found_.push_back({std::string(id), true});
}

void id_reader::reset() noexcept {
    in_ = place::structure;
    value_next_ = long_ = false;
    depth_ = 0;
    name_ = word::other;
    text_.clear();
}

void id_reader::on_event(std::string_view data) {
    events_ = true;
    if (data.substr(0, 72).find(".delta\"") != std::string_view::npos) return;
    if (other_ != nullptr) other_->on_event(data);
    if (found_.size() >= max_found) return;
    reset();
    read(data);
}

id_reader::word id_reader::word_of(std::string_view key) noexcept {
    if (key == "id") return word::id;
    if (key == "response") return word::response;
    if (key == "metadata") return word::metadata;
    if (std::ranges::find(references, key) != references.end()) return word::reference;
    return word::other;
}

void id_reader::keep(std::string_view piece) {
    if (text_.size() + piece.size() > max_id)
        long_ = true;
    else
        text_ += piece;
}

void add_calls(const std::vector<std::string>& calls, std::size_t most,
               std::vector<object_ref>& to) {
    for (const std::string& call : calls)
        if (to.size() < most && is_object_id(call)) to.push_back({call, {}, true});
}

void id_reader::value(word key, std::string_view text) {
    if (found_.size() >= max_found || !is_object_id(text)) return;
    const id_kind* kind = kind_of(text);
    if (request_) {
        // What is said of a conversation in place of its id.
        if (text == "auto" || text == "none") return;
        const bool named = key == word::reference || (key == word::id && kind != nullptr);
        if (named) found_.push_back({std::string(text), false});
        return;
    }
    // The object itself: of a plain answer at the top, of a stream the response in its events.
    const bool own = key == word::id && (events_ ? depth_ == 2 && levels_[0].key == word::other &&
                                                       levels_[1].key == word::response
                                                 : depth_ == 1 && creates_);
    if (own) {
        found_.push_back({std::string(text), true});
        return;
    }
    if (kind == nullptr || (key != word::id && key != word::reference)) return;
    if (!kind->firm && !items_) return;
    found_.push_back({std::string(text), false});
}

void id_reader::end_text() {
    in_ = place::structure;
    if (depth_ == 0) return;
    level& at = top();
    if (!at.array && !value_next_) {
        name_ = long_ ? word::other : word_of(text_);
        return;
    }
    if (!at.muted && !long_ && depth_ <= max_levels) value(at.array ? at.key : name_, text_);
    value_next_ = false;
}

void id_reader::feed(std::string_view body) {
    if (found_.size() >= max_found && other_ == nullptr) return;
    decoder_.feed(body, [this](std::string_view piece) {
        if (other_ != nullptr) other_->feed(piece);
        if (found_.size() < max_found) read(piece);
    });
}

void id_reader::read(std::string_view json) {
    const char* p = json.data();
    const char* const end = p + json.size();
    while (p != end) {
        switch (in_) {
            case place::text: {
                const char* stop = usage::find_quote(p, end);
                if (!long_) keep({p, static_cast<std::size_t>(stop - p)});
                p = stop;
                if (p == end) return;
                if (*p == '"')
                    end_text();
                else
                    in_ = place::escape;
                ++p;
                break;
            }
            case place::escape:
                in_ = place::text;
                if (*p == 'u') {
                    in_ = place::hex;
                    hex_left_ = 4;
                    hex_ = 0;
                } else {
                    // No id and no key of ours holds what else can be escaped, but for '/'.
                    keep(*p == '/' ? "/" : "?");
                }
                ++p;
                break;
            case place::hex: {
                const char c = *p++;
                const unsigned digit = c >= '0' && c <= '9'   ? static_cast<unsigned>(c - '0')
                                       : c >= 'a' && c <= 'f' ? static_cast<unsigned>(c - 'a' + 10)
                                       : c >= 'A' && c <= 'F' ? static_cast<unsigned>(c - 'A' + 10)
                                                              : 0U;
                hex_ = hex_ * 16 + digit;
                if (--hex_left_ > 0) break;
                in_ = place::text;
                const char letter = hex_ < 0x80 ? static_cast<char>(hex_) : '?';
                keep({&letter, 1});
                break;
            }
            case place::structure:
                switch (*p) {
                    case '"':
                        in_ = place::text;
                        text_.clear();
                        long_ = false;
                        break;
                    case '{':
                    case '[': {
                        const bool array = *p == '[';
                        const word key = depth_ == 0 || depth_ > max_levels ? word::other
                                         : top().array                      ? top().key
                                                                            : name_;
                        const bool muted = key == word::metadata || (depth_ > 0 && top().muted);
                        ++depth_;
                        // Too deep for anything that an upstream reads: nothing is taken there.
                        if (depth_ <= max_levels) top() = {key, array, muted};
                        value_next_ = false;
                        name_ = word::other;
                        break;
                    }
                    case '}':
                    case ']':
                        if (depth_ > 0) --depth_;
                        value_next_ = false;
                        break;
                    case ':':
                        value_next_ = true;
                        break;
                    case ',':
                        value_next_ = false;
                        break;
                    default:
                        break;
                }
                ++p;
                break;
        }
    }
}

}  // namespace kw::proxy
