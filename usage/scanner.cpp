// What the scanner does with the answer's text; what the numbers mean is in counts.cpp.
#include "usage/scanner.hpp"

#include <algorithm>
#include <charconv>

#include "usage/scan_bytes.hpp"

namespace kw::usage {
namespace {

using k = key;

bool starts_with_ci(std::string_view text, std::string_view lower) noexcept {
    return text.size() >= lower.size() &&
           std::equal(lower.begin(), lower.end(), text.begin(),
                      [](char l, char t) { return (t >= 'A' && t <= 'Z' ? t + 32 : t) == l; });
}

constexpr std::uint32_t four(const char (&s)[5]) noexcept {
    std::uint32_t n = 0;
    for (unsigned i = 0; i < 4; ++i)
        n |= static_cast<std::uint32_t>(static_cast<unsigned char>(s[i])) << (8 * i);
    return n;
}

constexpr bool is_text_key(key name) noexcept {
    switch (name) {
        case k::content:
        case k::text:
        case k::delta:
        case k::arguments:
        case k::partial_json:
        case k::thinking:
        case k::reasoning_content:
        case k::reasoning:
        case k::refusal:
            return true;
        default:
            return false;
    }
}

// The type of an event that names it first, as all that name it do; "" for others.
std::string_view leading_type(std::string_view data) noexcept {
    constexpr std::string_view start = "{\"type\":";
    if (!data.starts_with(start)) return {};
    const char* const end = data.data() + data.size();
    const char* p = skip_blanks(data.data() + start.size(), end);
    if (p == end || *p != '"') return {};
    ++p;
    const char* const stop = find_quote(p, std::min(end, p + 64));
    if (stop == end || *stop != '"') return {};
    return {p, static_cast<std::size_t>(stop - p)};
}

constexpr bool is_digit(char c) noexcept {
    return c >= '0' && c <= '9';
}

// An answer names its model in one of its first events, or never.
constexpr std::uint8_t first_events_walked = 3;

}  // namespace

void scanner::configure(std::string_view content_type, std::string_view content_encoding) {
    *this = scanner();
    decoder_.start(parse_encoding(content_encoding));
    if (starts_with_ci(content_type, "text/event-stream"))
        mode_ = mode::events;
    else if (content_type.empty() || starts_with_ci(content_type, "application/json") ||
             content_type.find("json") != std::string_view::npos ||
             starts_with_ci(content_type, "text/plain"))
        mode_ = mode::json;
    else
        mode_ = mode::ignore;
}

event_info scanner::on_event(std::string_view data) {
    event_begins();
    const char* const begin = data.data();
    const char* const end = begin + data.size();
    if (data.size() <= 8 && data.starts_with("[DONE]")) {
        out_.saw_done = out_.finished = true;
        info_.done = info_.terminal = true;
        return info_;
    }
    if (!data.empty() && data.front() == '{') {
        const auto last = data.find_last_not_of(" \t\r\n");
        if (data[last] != '}') {
            info_.broken = true;
            return info_;
        }
    }

    bool walk_it = out_.model.empty() && events_walked_ < first_events_walked;
    if (const std::string_view type = leading_type(data); !type.empty()) {
        on_type(type);
        walk_it |= info_.terminal;
    }

    for (const char* p = find_key_end(begin, end); p != end; p = find_key_end(p + 2, end)) {
        if (p - begin < 5) continue;
        const auto before = [&](std::ptrdiff_t n) { return p - begin >= n ? p[-n] : '\0'; };
        std::uint32_t last = 0;
        std::memcpy(&last, p - 4, 4);
        const char* const v = skip_blanks(p + 2, end);
        if (v == end) break;
        switch (last) {
            case four("sage"):  // usage
                walk_it |= *v == '{';
                break;
            case four("data"):  // usageMetadata; inlineData.data has no name of its own
                walk_it |= *v == '{' && before(8) == 'M';
                break;
            case four("rror"):  // error
                walk_it |= *v == '{' || *v == '"';
                break;
            case four("ason"):  // finish_reason, stop_reason, finishReason
                if (*v == '"' && (before(7) == '_' || before(6) == 'R')) info_.terminal = true;
                break;
            case four("alls"):  // tool_calls
            case four("Call"):  // functionCall
                if ((*v == '[' && v + 1 != end && v[1] != ']') || (*v == '{' && p[-1] == 'l'))
                    info_.content = true;
                break;
            case four("tent"):  // content, reasoning_content
            case four("text"):
            case four("json"):  // partial_json, b64_json
            case four("king"):  // thinking
            case four("ents"):  // arguments
            case four("ning"):  // reasoning
            case four("usal"):  // refusal
            case four("elta"):  // delta
            case four("udio"): {
                if (*v != '"') break;
                const char* const stop = find_string_end(v + 1, end);
                const std::int64_t length = stop - (v + 1);
                const bool picture_or_sound =
                    last == four("udio") || (last == four("json") && before(8) == 'b');
                if (length > 0 && (!typed_ || last == four("elta") || picture_or_sound)) {
                    info_.content = true;
                    if (!picture_or_sound) out_.output_chars += length;
                }
                p = stop == end ? end - 2 : stop - 1;  // the search goes on behind it
                break;
            }
            default:
                break;
        }
    }

    if (walk_it) walk(data);
    event_ends();
    return info_;
}

void scanner::walk(std::string_view data) {
    if (events_walked_ < first_events_walked) ++events_walked_;
    walker_.reset();
    walker_.feed(data, *this);
}

void scanner::feed(std::string_view payload) {
    if (mode_ == mode::ignore || decoder_.failed()) return;
    count_text_ = true;
    decoder_.feed(payload, [this](std::string_view piece) {
        if (mode_ == mode::events)
            feed_lines(piece);
        else
            walker_.feed(piece, *this);
    });
}

void scanner::finish(bool whole) {
    if (mode_ == mode::events && event_open_ && whole) feed_lines("\n\n");
    if (mode_ == mode::json && count_text_ && whole && !decoder_.failed() && walker_.complete()) {
        out_.finished = true;
        event_ends();
    }
}

// Splits an event stream into data for the walker: no line is ever kept, however long.
void scanner::feed_lines(std::string_view text) {
    constexpr std::string_view name = "data";
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p != end) {
        const char c = *p;
        const bool was_cr = last_was_cr_;
        last_was_cr_ = false;
        if (was_cr && c == '\n') {
            ++p;
            continue;
        }
        if (c == '\n' || c == '\r') {
            if (line_ == line::start && event_open_) {
                if (held_size_ >= 6 && std::string_view(held_.data(), 6) == "[DONE]") {
                    out_.saw_done = out_.finished = true;
                }
                event_ends();
                event_open_ = false;
            }
            line_ = line::start;
            last_was_cr_ = c == '\r';
            ++p;
            continue;
        }
        switch (line_) {
            case line::start:
                name_matched_ = 0;
                line_ = line::field;
                [[fallthrough]];
            case line::field:
                if (name_matched_ < name.size() && c == name[name_matched_]) {
                    ++name_matched_;
                } else if (name_matched_ == name.size() && c == ':') {
                    line_ = line::data;
                    if (!event_open_) {
                        event_open_ = true;
                        held_size_ = 0;
                        event_begins();
                        walker_.reset();
                    }
                } else {
                    line_ = line::skip;
                }
                ++p;
                break;
            case line::data:
            case line::skip: {
                const char* stop = p;
                while (stop != end && *stop != '\n' && *stop != '\r')
                    ++stop;
                if (line_ == line::data) {
                    for (const char* q = p; q != stop && held_size_ < held_.size(); ++q)
                        if (held_size_ != 0 || *q != ' ') held_[held_size_++] = *q;
                    walker_.feed({p, static_cast<std::size_t>(stop - p)}, *this);
                }
                p = stop;
                break;
            }
        }
    }
}

void scanner::event_begins() {
    info_ = {};
    typed_ = type_known_ = message_start_ = usage_object_ = empty_choices_ = false;
}

void scanner::event_ends() {
    if (usage_object_) {
        seen_any_ = true;
        if (!message_start_) seen_last_ = true;
        if (empty_choices_) {
            info_.usage_only = true;
            out_.finished = true;
        }
    }
    if (info_.terminal) out_.finished = true;
    if (info_.error) out_.saw_error = true;
}

void scanner::on_type(std::string_view type) {
    typed_ = type.starts_with("response.") || type.starts_with("transcript.") ||
             type.starts_with("speech.") || type.starts_with("image_") ||
             type.starts_with("conversation.");
    if (type == "message_start") {
        message_start_ = true;
    } else if (type == "response.completed" || type == "response.incomplete" ||
               type == "response.done" || type == "message_stop" ||
               type == "transcript.text.done" || type == "speech.audio.done" ||
               type == "conversation.item.input_audio_transcription.completed") {
        info_.terminal = true;
    } else if (type == "image_generation.completed" || type == "image_edit.completed") {
        info_.terminal = true;
        ++out_.images;
    } else if (type == "response.failed" || type == "error") {
        info_.terminal = info_.error = true;
    }
    type_known_ = true;
}

void scanner::on_open(const json_container& c) {
    switch (c.path) {
        case path_of(k::usageMetadata):
            fresh_gemini_ = true;
            break;
        case path_of(k::error):
            if (!c.is_array) info_.error = true;
            break;
        case path_of(k::output):
            out_.searches = 0;  // a later event repeats the whole output
            break;
        default:
            break;
    }
    if (c.name == k::item) {
        modality_tokens_ = -1;
        modality_ = modality::text;
    }
}

void scanner::on_close(const json_container& c) {
    if (c.path == path_of(k::choices) && c.is_array && c.empty) empty_choices_ = true;
    if (c.name != k::item || modality_tokens_ <= 0) return;
    if (c.path == path_of(k::usageMetadata, k::promptTokensDetails, k::item)) {
        if (modality_ == modality::audio) raw_at(raw::audio_in) = modality_tokens_;
        if (modality_ == modality::image) raw_at(raw::image_in) = modality_tokens_;
    } else if (c.path == path_of(k::usageMetadata, k::candidatesTokensDetails, k::item)) {
        if (modality_ == modality::audio) raw_at(raw::audio_out) = modality_tokens_;
        if (modality_ == modality::image) raw_at(raw::image_out) = modality_tokens_;
    }
    modality_tokens_ = -1;
}

void scanner::on_value(const json_value& v) {
    using kind = json_value::kind;
    if (v.what == kind::literal) return;
    if (v.what == kind::number) {
        on_number(v.path, v.text);
        return;
    }
    if (count_text_ && v.length > 0 && is_text_key(v.name) && (!typed_ || v.name == k::delta)) {
        info_.content = true;
        out_.output_chars += static_cast<std::int64_t>(v.length);
    }
    switch (v.path) {
        case path_of(k::model):
        case path_of(k::modelVersion):
            if (out_.model.empty()) out_.model = v.text;
            break;
        case path_of(k::service_tier):
        case path_of(k::usage, k::service_tier):
            out_.service_tier = v.text;
            break;
        case path_of(k::type):
            if (!type_known_) on_type(v.text);
            break;
        case path_of(k::choices, k::item, k::finish_reason):
        case path_of(k::candidates, k::item, k::finishReason):
        case path_of(k::delta, k::stop_reason):
            info_.terminal = true;
            break;
        case path_of(k::output, k::item, k::type):
            if (v.text == "web_search_call") ++out_.searches;
            break;
        case path_of(k::data, k::item, k::b64_json):
        case path_of(k::data, k::item, k::url):
            ++out_.images;
            break;
        case path_of(k::error):
            info_.error = true;
            break;
        case path_of(k::error, k::code):
            out_.error_code = v.text;
            break;
        case path_of(k::error, k::type):
        case path_of(k::error, k::status):
            if (out_.error_code.empty() || is_digit(out_.error_code.front()))
                out_.error_code = v.text;
            break;
        case path_of(k::code):
            if (info_.error) out_.error_code = v.text;
            break;
        case path_of(k::usageMetadata, k::promptTokensDetails, k::item, k::modality):
        case path_of(k::usageMetadata, k::candidatesTokensDetails, k::item, k::modality):
            modality_ = v.text == "AUDIO"   ? modality::audio
                        : v.text == "IMAGE" ? modality::image
                                            : modality::text;
            break;
        default:
            break;
    }
}

bool is_usage_only_event(std::string_view data) {
    return scanner().on_event(data).usage_only;
}

bool is_first_token(std::string_view data) {
    return scanner().on_event(data).content;
}

}  // namespace kw::usage
