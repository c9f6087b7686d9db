// Words, schema instances, usage objects and error bodies.
#include "mock/answers.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "core/json_writer.hpp"

namespace kw::mock {
namespace {

namespace bj = boost::json;

// Some beyond ASCII, so that characters get split between reads.
constexpr auto vocabulary = std::to_array<std::string_view>(
    {"time",   "stream", "river",  "light",  "stone",  "garden", "signal", "paper",
     "window", "north",  "table",  "quiet",  "seven",  "copper", "bridge", "letter",
     "harbor", "winter", "engine", "field",  "naïve",  "café",   "日本",   "Größe",
     "🙂",     "salt",   "open",   "wheel",  "key",    "round",  "under",  "market",
     "plain",  "silver", "motion", "valley", "answer", "thread", "lamp",   "ocean"});

bj::value instance(const bj::value& schema, const bj::value& root, int depth) {
    if (!schema.is_object() || depth > 12) return "text";
    const auto& s = schema.get_object();
    if (const auto* ref = s.if_contains("$ref"); ref && ref->is_string()) {
        const std::string_view pointer = ref->get_string();
        boost::system::error_code ec;
        const bj::value* found =
            pointer.starts_with('#') ? root.find_pointer(pointer.substr(1), ec) : nullptr;
        return found ? instance(*found, root, depth + 1) : bj::value("text");
    }
    if (const auto* fixed = s.if_contains("const")) return *fixed;
    if (const auto* values = s.if_contains("enum"); values && values->is_array()) {
        if (!values->get_array().empty()) return values->get_array().front();
    }
    for (const char* name : {"anyOf", "oneOf", "allOf"}) {
        const auto* choices = s.if_contains(name);
        if (choices && choices->is_array() && !choices->get_array().empty()) {
            return instance(choices->get_array().front(), root, depth + 1);
        }
    }
    const auto* named = s.if_contains("type");
    if (named && named->is_array() && !named->get_array().empty()) {
        named = &named->get_array().front();
    }
    const std::string type =
        named && named->is_string() ? std::string(named->get_string()) : std::string("object");
    if (type == "string") return "text";
    if (type == "integer") {
        const auto* least = s.if_contains("minimum");
        return least && least->is_int64() ? *least : bj::value(7);
    }
    if (type == "number") return 1.5;
    if (type == "boolean") return true;
    if (type == "null") return nullptr;
    if (type == "array") {
        const auto* least = s.if_contains("minItems");
        const std::int64_t n =
            least && least->is_int64() ? std::min<std::int64_t>(least->get_int64(), 100) : 1;
        const auto* items = s.if_contains("items");
        bj::array out;
        for (std::int64_t i = 0; i < n && items; ++i)
            out.push_back(instance(*items, root, depth + 1));
        return out;
    }
    bj::object out;
    if (const auto* properties = s.if_contains("properties");
        properties && properties->is_object()) {
        for (const auto& [name, value] : properties->get_object()) {
            out[name] = instance(value, root, depth + 1);
        }
    }
    return out;
}

const bj::value* look(const bj::value& in, std::initializer_list<const char*> path) {
    const bj::value* at = &in;
    for (const char* name : path) {
        if (!at->is_object()) return nullptr;
        at = at->get_object().if_contains(name);
        if (!at) return nullptr;
    }
    return at;
}

std::string escaped(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out.substr(1, out.size() - 2);
}

// Cuts at character bounds, about eight bytes each.
void cut_pieces(std::string_view text, content& into) {
    while (!text.empty()) {
        std::size_t n = std::min<std::size_t>(8, text.size());
        while (n < text.size() && (static_cast<unsigned char>(text[n]) & 0xC0U) == 0x80U)
            ++n;
        into.pieces.push_back(escaped(text.substr(0, n)));
        into.whole += into.pieces.back();
        text.remove_prefix(n);
    }
}

// The last element of an array in its text, parsed; null if there is none.
bj::value last_message(const request& r) {
    for (const char* name : {"messages", "input"}) {
        const auto raw = r.json.raw(name);
        if (!raw.starts_with('[')) continue;
        boost::system::error_code ec;
        const auto all = bj::parse(raw, ec);
        if (!ec && all.is_array() && !all.get_array().empty()) return all.get_array().back();
    }
    return nullptr;
}

// A tool call or an object of the schema, where the request asks for one.
bool structured(const exchange& x, content& out) {
    const auto tools = x.in.json.raw("tools");
    const auto format = x.in.json.raw("response_format");
    const auto text = x.in.json.raw("text");  // of the responses endpoint
    boost::system::error_code ec;
    if (tools.size() > 2 && x.in.json.text("tool_choice") != "none") {
        const auto last = last_message(x.in);
        const auto* role = look(last, {"role"});
        const auto* type = look(last, {"type"});
        const bool answered =
            (role && *role == "tool") || (type && *type == "function_call_output");
        const auto all = bj::parse(tools, ec);
        if (!answered && !ec && all.is_array() && !all.get_array().empty()) {
            const auto& tool = all.get_array().front();
            const auto* name = look(tool, {"function", "name"});
            if (!name) name = look(tool, {"name"});
            const auto* schema = look(tool, {"function", "parameters"});
            if (!schema) schema = look(tool, {"parameters"});
            if (!schema) schema = look(tool, {"input_schema"});
            if (name && name->is_string()) {
                out.tool = std::string(name->get_string());
                out.finish = "tool_calls";
                cut_pieces(schema ? bj::serialize(instance(*schema, *schema, 0)) : "{}", out);
                return true;
            }
        }
    }
    if (format.size() > 2 || text.size() > 2) {
        const auto parsed = bj::parse(format.size() > 2 ? format : text, ec);
        if (ec) return false;
        const auto* schema = look(parsed, {"json_schema", "schema"});
        if (!schema) schema = look(parsed, {"format", "schema"});
        const auto* type = look(parsed, {"type"});
        if (schema) {
            cut_pieces(bj::serialize(instance(*schema, *schema, 0)), out);
            return true;
        }
        if (type && *type == "json_object") {
            cut_pieces(R"({"answer":"text"})", out);
            return true;
        }
    }
    return false;
}

std::uint64_t fnv(std::string_view text) {
    std::uint64_t h = 1469598103934665603ULL;
    for (const char c : text)
        h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return h;
}

struct error_kind {
    int status;
    std::string_view code;
    std::string_view openai_type;
    std::string_view anthropic_type;
    std::string_view google_status;
    std::string_view message;
};

// The first of a status is its usual error.
constexpr auto error_kinds = std::to_array<error_kind>({
    {400, "", "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",
     "The request is not valid."},
    {400, "context_length_exceeded", "invalid_request_error", "invalid_request_error",
     "INVALID_ARGUMENT",
     "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 "
     "tokens."},
    {400, "content_filter", "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",
     "The response was filtered due to the prompt triggering the content management policy."},
    {401, "invalid_api_key", "invalid_request_error", "authentication_error", "UNAUTHENTICATED",
     "Incorrect API key provided."},
    {401, "account_deactivated", "invalid_request_error", "authentication_error", "UNAUTHENTICATED",
     "The OpenAI account associated with this API key has been deactivated."},
    {402, "billing_hard_limit_reached", "billing_error", "billing_error", "FAILED_PRECONDITION",
     "Billing hard limit has been reached."},
    {403, "permission_denied", "permission_error", "permission_error", "PERMISSION_DENIED",
     "You are not allowed to do this."},
    {404, "not_found", "invalid_request_error", "not_found_error", "NOT_FOUND", "Not found."},
    {404, "model_not_found", "invalid_request_error", "not_found_error", "NOT_FOUND",
     "The model does not exist or you do not have access to it."},
    {408, "timeout", "timeout_error", "timeout_error", "DEADLINE_EXCEEDED",
     "The request timed out."},
    {409, "conflict", "invalid_request_error", "invalid_request_error", "ABORTED",
     "The resource is in conflict."},
    {413, "request_too_large", "invalid_request_error", "request_too_large", "INVALID_ARGUMENT",
     "The request is too large."},
    {422, "unprocessable", "invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT",
     "The request cannot be processed."},
    {429, "rate_limit_exceeded", "requests", "rate_limit_error", "RESOURCE_EXHAUSTED",
     "Rate limit reached for requests."},
    {429, "insufficient_quota", "insufficient_quota", "rate_limit_error", "RESOURCE_EXHAUSTED",
     "You exceeded your current quota, please check your plan and billing details."},
    {500, "", "server_error", "api_error", "INTERNAL",
     "The server had an error while processing your request."},
    {502, "", "server_error", "api_error", "UNAVAILABLE", "Bad gateway."},
    {503, "", "server_error", "overloaded_error", "UNAVAILABLE",
     "The engine is currently overloaded, please try again later."},
    {504, "", "server_error", "timeout_error", "DEADLINE_EXCEEDED", "The upstream timed out."},
    {529, "", "overloaded_error", "overloaded_error", "UNAVAILABLE", "Overloaded."},
});

error_kind kind_of(int status, std::string_view code) {
    const error_kind* usual = nullptr;
    for (const auto& k : error_kinds) {
        if (k.status != status) continue;
        if (k.code == code) return k;
        if (!usual) usual = &k;
    }
    if (usual) return *usual;
    return {status,      "",        status < 500 ? "invalid_request_error" : "server_error",
            "api_error", "UNKNOWN", "Error."};
}

}  // namespace

word_table::word_table(std::uint64_t seed) {
    begins_.reserve(size + 1);
    std::uint64_t state = seed * 0x9E3779B97F4A7C15ULL + 1;
    for (std::size_t i = 0; i < size; ++i) {
        begins_.push_back(text_.size());
        state ^= state << 13U;
        state ^= state >> 7U;
        state ^= state << 17U;
        text_ += ' ';
        text_ += vocabulary[state % vocabulary.size()];
    }
    begins_.push_back(text_.size());
}

std::string_view word_table::word(std::size_t i) const noexcept {
    i %= size;
    return std::string_view(text_).substr(begins_[i], begins_[i + 1] - begins_[i]);
}

std::string word_table::text(std::size_t from, std::size_t n) const {
    from %= size;
    if (from + n <= size) return text_.substr(begins_[from], begins_[from + n] - begins_[from]);
    std::string out;
    for (std::size_t i = 0; i < n; ++i)
        out += word(from + i);
    return out;
}

content make_content(const exchange& x) {
    content out;
    if (x.record.model.find("reason") != std::string::npos) {
        out.reasoning = static_cast<std::uint64_t>(std::max(0, x.faults.tokens)) / 2;
        if (x.faults.tokens < 0) {
            out.reasoning = static_cast<std::uint64_t>(x.shared.direct.tokens.load()) / 2;
        }
    }
    if (x.faults.content_filter) {
        out.finish = "content_filter";
    } else if (structured(x, out)) {
        return out;
    }
    std::int64_t n = x.faults.tokens >= 0 ? x.faults.tokens : x.shared.direct.tokens.load();
    for (const char* name : {"max_completion_tokens", "max_output_tokens", "max_tokens"}) {
        const auto limit = x.in.json.number(name, n);
        if (limit >= 0 && limit < n) {
            n = limit;
            out.finish = "length";
        }
    }
    if (x.faults.content_filter) {
        n = std::min<std::int64_t>(n, 5);
        out.finish = "content_filter";
    }
    // A test's id chooses its own stretch of words: bytes of two streams can be told apart.
    const auto from = static_cast<std::size_t>(fnv(x.record.test_id) % 2048);
    const auto count = static_cast<std::size_t>(n);
    out.whole = x.shared.words.text(from, count);
    out.pieces.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
        out.pieces.emplace_back(x.shared.words.word(from + i));
    return out;
}

token_count count_input(const request& r) {
    token_count t;
    t.input = std::max<std::uint64_t>(1, r.body_bytes / 4);
    if (r.body_bytes >= 4096 && t.input % 2 == 0) t.cached = t.input / 2;
    return t;
}

bool has_prefill(const request& r) {
    const auto last = last_message(r);
    const auto* role = look(last, {"role"});
    return role && *role == "assistant";
}

std::string chat_usage(const token_count& t) {
    std::string out;
    json_writer w(out);
    w.begin_object().field("prompt_tokens", t.input).field("completion_tokens", t.output);
    w.field("total_tokens", t.input + t.output).key("prompt_tokens_details").begin_object();
    w.field("cached_tokens", t.cached).field("audio_tokens", 0).end_object();
    w.key("completion_tokens_details").begin_object().field("reasoning_tokens", t.reasoning);
    w.field("audio_tokens", 0).field("accepted_prediction_tokens", 0);
    w.field("rejected_prediction_tokens", 0).end_object().end_object();
    return out;
}

std::string responses_usage(const token_count& t) {
    std::string out;
    json_writer w(out);
    w.begin_object().field("input_tokens", t.input).key("input_tokens_details").begin_object();
    w.field("cached_tokens", t.cached).end_object().field("output_tokens", t.output);
    w.key("output_tokens_details").begin_object().field("reasoning_tokens", t.reasoning);
    w.end_object().field("total_tokens", t.input + t.output).end_object();
    return out;
}

std::string json_text(std::string_view text) {
    std::string out;
    append_json_string(out, text);
    return out;
}

std::string account_name(std::string_view key) {
    std::uint32_t h = 2166136261U;
    for (const char c : key)
        h = (h ^ static_cast<unsigned char>(c)) * 16777619U;
    std::string out = "acct-";
    for (int shift = 28; shift >= 0; shift -= 4)
        out += "0123456789abcdef"[(h >> shift) & 15U];
    return out;
}

std::string error_body(std::string_view path, int status, std::string_view code,
                       std::string_view message, std::string_view request_id) {
    const auto kind = kind_of(status, code);
    if (message.empty()) message = kind.message;
    if (code.empty()) code = kind.code;
    std::string out;
    json_writer w(out);
    if (path.starts_with("/v1/messages")) {
        w.begin_object().field("type", "error").key("error").begin_object();
        w.field("type", kind.anthropic_type).field("message", message).end_object();
        w.field("request_id", request_id).end_object();
    } else if (path.find(":generateContent") != std::string_view::npos ||
               path.find(":streamGenerateContent") != std::string_view::npos ||
               path.find(":countTokens") != std::string_view::npos) {
        w.begin_object().key("error").begin_object().field("code", status);
        w.field("message", message).field("status", kind.google_status).end_object().end_object();
    } else {
        w.begin_object().key("error").begin_object().field("message", message);
        w.field("type", kind.openai_type).key("param").null().key("code");
        if (code.empty()) {
            w.null();
        } else {
            w.value(code);
        }
        w.end_object().end_object();
    }
    return out;
}

}  // namespace kw::mock
