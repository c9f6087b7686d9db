// The table of endpoint families.
#include "usage/endpoint.hpp"

#include <algorithm>
#include <array>

namespace kw::usage {
namespace {

constexpr std::size_t max_segments = 8;

struct segments {
    std::array<std::string_view, max_segments> s{};
    std::size_t count = 0;
    [[nodiscard]] std::string_view operator[](std::size_t i) const noexcept {
        return i < count ? s[i] : std::string_view();
    }
};

segments split(std::string_view path) noexcept {
    segments out;
    while (!path.empty() && out.count < max_segments) {
        path.remove_prefix(path.front() == '/' ? 1 : 0);
        const std::size_t slash = std::min(path.find('/'), path.size());
        if (slash != 0) out.s[out.count++] = path.substr(0, slash);
        path.remove_prefix(slash);
    }
    return out;
}

bool is_base(std::string_view s) noexcept {
    return s == "v1" || s == "v1beta" || s == "v1alpha" || s == "openai" || s == "api";
}

// Azure's form: /openai/deployments/{deployment}/chat/completions.
constexpr std::string_view deployments = "deployments";

segments without_base(std::string_view path) noexcept {
    segments all = split(path);
    std::size_t skip = 0;
    while (skip < all.count && is_base(all[skip]))
        ++skip;
    if (all[skip] == deployments && all.count > skip + 2) skip += 2;
    std::copy(all.s.begin() + static_cast<std::ptrdiff_t>(skip), all.s.end(), all.s.begin());
    all.count -= skip;
    return all;
}

bool has_deployment(std::string_view path) noexcept {
    return path.find("/deployments/") != std::string_view::npos;
}

struct row {
    std::string_view first;
    std::string_view second;  // "" for none
    std::string_view family;
    model_place model_in;
    bool billable;
    bool chat_stream;
    bool body_streams;
};

// POST only; all else of these families is a plain call by id.
constexpr std::array posts{
    row{"chat", "completions", "chat", model_place::json, true, true, false},
    row{"completions", "", "completions", model_place::json, true, true, false},
    row{"responses", "", "responses", model_place::json, true, false, false},
    row{"responses", "compact", "responses", model_place::json, true, false, false},
    row{"responses", "input_tokens", "responses", model_place::json, false, false, false},
    row{"embeddings", "", "embeddings", model_place::json, true, false, false},
    row{"moderations", "", "moderations", model_place::json, false, false, false},
    row{"audio", "speech", "audio_speech", model_place::json, true, false, false},
    row{"audio", "transcriptions", "audio_transcriptions", model_place::multipart, true, false,
        false},
    row{"audio", "translations", "audio_translations", model_place::multipart, true, false, false},
    row{"images", "generations", "images", model_place::json, true, false, false},
    row{"images", "edits", "images", model_place::multipart, true, false, false},
    row{"images", "variations", "images", model_place::multipart, true, false, false},
    row{"videos", "", "videos", model_place::multipart, true, false, false},
    row{"messages", "", "messages", model_place::json, true, false, false},
    row{"messages", "count_tokens", "messages", model_place::json, false, false, false},
    row{"fine_tuning", "jobs", "fine_tuning", model_place::json, false, false, false},
    row{"files", "", "files", model_place::none, false, false, true},
    row{"assistants", "", "assistants", model_place::json, false, false, false},
    row{"threads", "runs", "assistants", model_place::json, true, false, false},
};

struct family_row {
    std::string_view first;
    std::string_view family;
};

constexpr std::array families{
    family_row{"chat", "chat"},
    family_row{"completions", "completions"},
    family_row{"responses", "responses"},
    family_row{"conversations", "conversations"},
    family_row{"embeddings", "embeddings"},
    family_row{"audio", "audio"},
    family_row{"images", "images"},
    family_row{"videos", "videos"},
    family_row{"files", "files"},
    family_row{"uploads", "uploads"},
    family_row{"batches", "batches"},
    family_row{"models", "models"},
    family_row{"messages", "messages"},
    family_row{"fine_tuning", "fine_tuning"},
    family_row{"vector_stores", "vector_stores"},
    family_row{"containers", "containers"},
    family_row{"skills", "skills"},
    family_row{"evals", "evals"},
    family_row{"assistants", "assistants"},
    family_row{"threads", "assistants"},
    family_row{"chatkit", "chatkit"},
    family_row{"realtime", "realtime"},
    family_row{"organization", "organization"},
    family_row{"projects", "organization"},
};

// Where the model's name is in the path: [begin, end), before a ":verb" if there is one.
struct name_place {
    std::size_t begin = 0;
    std::size_t end = 0;
};

name_place find_name(std::string_view path) noexcept {
    for (const std::string_view before :
         {std::string_view("/models/"), std::string_view("/deployments/")}) {
        const std::size_t at = path.find(before);
        if (at == std::string_view::npos) continue;
        const std::size_t begin = at + before.size();
        const bool deployment = before == "/deployments/";
        std::size_t end = deployment ? std::min(path.find('/', begin), path.size()) : path.size();
        // Fine-tuned names hold colons ("ft:gpt-4o:org"), but a verb is letters behind the last.
        const std::size_t colon = path.substr(0, end).rfind(':');
        if (!deployment && colon != std::string_view::npos && colon > begin) {
            const std::string_view verb = path.substr(colon + 1, end - colon - 1);
            for (const std::string_view known :
                 {std::string_view("generateContent"), std::string_view("streamGenerateContent"),
                  std::string_view("countTokens"), std::string_view("embedContent"),
                  std::string_view("batchEmbedContents"), std::string_view("predict"),
                  std::string_view("predictLongRunning")})
                if (verb == known) end = colon;
        }
        return {begin, end};
    }
    return {};
}

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

endpoint classify(std::string_view method, std::string_view path) noexcept {
    endpoint e;
    const segments s = without_base(path);
    const bool post = method == "POST";

    if (s[0] == "models") {
        e.family = "models";
        e.lists_models = s.count == 1 && method == "GET";
        if (s.count == 1) return e;
        e.model_in = model_place::path;
        const name_place place = find_name(path);
        if (post && place.end < path.size() && path[place.end] == ':') {
            const std::string_view verb = path.substr(place.end + 1);
            e.family = "gemini";
            e.dialect = dialect::gemini;
            e.billable = verb != "countTokens";
        }
        return e;
    }
    if (s[0] == "messages") e.dialect = dialect::anthropic;

    for (const family_row& f : families)
        if (s[0] == f.first) e.family = f.family;
    if (post) {
        for (const row& r : posts) {
            if (s[0] != r.first || s[1] != r.second || s.count != (r.second.empty() ? 1U : 2U))
                continue;
            e.family = r.family;
            e.model_in = r.model_in;
            e.billable = r.billable;
            e.chat_stream = r.chat_stream;
            e.body_streams = r.body_streams;
        }
        if (s[0] == "uploads" && s[2] == "parts") e.body_streams = true;
        if (s[0] == "threads" && s[2] == "runs" && s.count == 3) {
            e.model_in = model_place::json;
            e.billable = true;
        }
    }
    if (s[0] == "realtime" && s.count == 1) {
        e.model_in = model_place::query;
        e.billable = true;
    }
    if (has_deployment(path)) e.model_in = model_place::path;
    return e;
}

std::string model_in_path(std::string_view path) {
    const name_place place = find_name(path);
    const std::string_view raw = path.substr(place.begin, place.end - place.begin);
    std::string out;
    out.reserve(raw.size());
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (raw[i] == '%' && i + 2 < raw.size() && hex_digit(raw[i + 1]) >= 0 &&
            hex_digit(raw[i + 2]) >= 0) {
            out.push_back(static_cast<char>(hex_digit(raw[i + 1]) * 16 + hex_digit(raw[i + 2])));
            i += 2;
        } else {
            out.push_back(raw[i]);
        }
    }
    return out;
}

std::string replace_model_in_path(std::string_view path, std::string_view model) {
    const name_place place = find_name(path);
    if (place.begin == place.end) return std::string(path);
    std::string out(path.substr(0, place.begin));
    for (const char c : model) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                           (c >= 'A' && c <= 'Z') || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out.push_back(c);
        } else {
            constexpr std::string_view digits = "0123456789ABCDEF";
            const auto byte = static_cast<unsigned char>(c);
            out.push_back('%');
            out.push_back(digits[byte >> 4U]);
            out.push_back(digits[byte & 15U]);
        }
    }
    out.append(path.substr(place.end));
    return out;
}

}  // namespace kw::usage
