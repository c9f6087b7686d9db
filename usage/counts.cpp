// What the providers' numbers mean: every dialect's names brought to one way of counting.
#include <algorithm>

#include "usage/scanner.hpp"

namespace kw::usage {
namespace {

using k = key;

// No answer counts more; sums of many stay far from overflow.
constexpr std::int64_t most = 1'000'000'000'000;

std::int64_t whole_number(std::string_view text) noexcept {
    std::int64_t n = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') break;  // a sign gives 0, a fraction is cut off
        n = std::min(n * 10 + (c - '0'), most);
    }
    return n;
}

std::int64_t thousandths(std::string_view text) noexcept {
    std::int64_t n = whole_number(text) * 1000;
    if (const std::size_t dot = text.find('.'); dot != std::string_view::npos) {
        std::int64_t unit = 100;
        for (const char c : text.substr(dot + 1)) {
            if (c < '0' || c > '9' || unit == 0) break;
            n += unit * (c - '0');
            unit /= 10;
        }
    }
    return std::min(n, most);
}

}  // namespace

void scanner::on_number(json_path path, std::string_view text) {
    raw field = raw::count_;
    switch (path) {
#define KW_RAW(name, ...)      \
    case path_of(__VA_ARGS__): \
        field = raw::name;     \
        break
        KW_RAW(prompt, k::usage, k::prompt_tokens);
        KW_RAW(input, k::usage, k::input_tokens);
        KW_RAW(completion, k::usage, k::completion_tokens);
        KW_RAW(output, k::usage, k::output_tokens);
        KW_RAW(total, k::usage, k::total_tokens);
        KW_RAW(anthropic_write, k::usage, k::cache_creation_input_tokens);
        KW_RAW(anthropic_read, k::usage, k::cache_read_input_tokens);
        KW_RAW(write_5m, k::usage, k::cache_creation, k::ephemeral_5m_input_tokens);
        KW_RAW(write_1h, k::usage, k::cache_creation, k::ephemeral_1h_input_tokens);
        KW_RAW(cache_hit, k::usage, k::prompt_cache_hit_tokens);
        KW_RAW(searches, k::usage, k::server_tool_use, k::web_search_requests);
        KW_RAW(gemini_prompt, k::usageMetadata, k::promptTokenCount);
        KW_RAW(gemini_output, k::usageMetadata, k::candidatesTokenCount);
        KW_RAW(gemini_thoughts, k::usageMetadata, k::thoughtsTokenCount);
        KW_RAW(gemini_tools, k::usageMetadata, k::toolUsePromptTokenCount);
        case path_of(k::usage, k::prompt_tokens_details, k::cached_tokens):
        case path_of(k::usage, k::input_tokens_details, k::cached_tokens):
            KW_RAW(cached, k::usage, k::input_token_details, k::cached_tokens);
        case path_of(k::usageMetadata, k::cachedContentTokenCount):
            field = raw::cached;
            break;
        case path_of(k::usage, k::prompt_tokens_details, k::cache_write_tokens):
            KW_RAW(cache_write, k::usage, k::input_tokens_details, k::cache_write_tokens);
        case path_of(k::usage, k::prompt_tokens_details, k::audio_tokens):
        case path_of(k::usage, k::input_tokens_details, k::audio_tokens):
            KW_RAW(audio_in, k::usage, k::input_token_details, k::audio_tokens);
        case path_of(k::usage, k::prompt_tokens_details, k::image_tokens):
        case path_of(k::usage, k::input_tokens_details, k::image_tokens):
            KW_RAW(image_in, k::usage, k::input_token_details, k::image_tokens);
        case path_of(k::usage, k::completion_tokens_details, k::reasoning_tokens):
        case path_of(k::usage, k::output_tokens_details, k::reasoning_tokens):
            KW_RAW(reasoning, k::usage, k::output_tokens_details, k::thinking_tokens);
        case path_of(k::usage, k::completion_tokens_details, k::audio_tokens):
        case path_of(k::usage, k::output_tokens_details, k::audio_tokens):
            KW_RAW(audio_out, k::usage, k::output_token_details, k::audio_tokens);
        case path_of(k::usage, k::completion_tokens_details, k::image_tokens):
        case path_of(k::usage, k::output_tokens_details, k::image_tokens):
            KW_RAW(image_out, k::usage, k::output_token_details, k::image_tokens);
#undef KW_RAW
        case path_of(k::usageMetadata, k::totalTokenCount):
            field = raw::total;
            break;
        case path_of(k::usageMetadata, k::promptTokensDetails, k::item, k::tokenCount):
        case path_of(k::usageMetadata, k::candidatesTokensDetails, k::item, k::tokenCount):
            modality_tokens_ = whole_number(text);
            return;
        case path_of(k::usage, k::seconds):
            out_.duration_ms = thousandths(text);
            usage_object_ = true;
            return;
        case path_of(k::error, k::code):
            if (out_.error_code.empty()) out_.error_code = text;
            return;
        default:
            return;
    }
    // Each of Gemini's events repeats all counts; one that it leaves out is none.
    if (fresh_gemini_) {
        raw_ = unset();
        fresh_gemini_ = false;
    }
    usage_object_ = true;
    raw_at(field) = whole_number(text);
}

scan_result scanner::result() const {
    scan_result r = out_;
    r.found = r.finished && seen_last_;
    r.partial = !r.found && seen_any_;
    r.total_tokens = told(raw::total);
    r.searches += told(raw::searches);
    sum_up(r.tokens);
    return r;
}

void scanner::sum_up(token_counts& t) const noexcept {
    t.reasoning = told(raw::reasoning);
    t.cached_read = std::max({told(raw::cached), told(raw::cache_hit), told(raw::anthropic_read)});
    t.audio_in = told(raw::audio_in);
    t.image_in = told(raw::image_in);
    t.audio_out = told(raw::audio_out);
    t.image_out = told(raw::image_out);
    t.cache_write_5m = std::max(told(raw::cache_write), told(raw::anthropic_write));

    if (has(raw::gemini_prompt) || has(raw::gemini_output) || has(raw::gemini_thoughts)) {
        t.input = told(raw::gemini_prompt) + told(raw::gemini_tools);
        t.output = told(raw::gemini_output) + told(raw::gemini_thoughts);
        t.reasoning = told(raw::gemini_thoughts);
    } else {
        t.input = has(raw::prompt) ? told(raw::prompt) : told(raw::input);
        t.output = has(raw::completion) ? told(raw::completion) : told(raw::output);
        const bool writes = has(raw::anthropic_write) || has(raw::write_5m) || has(raw::write_1h);
        if (!has(raw::prompt) && (writes || has(raw::anthropic_read))) {
            // Anthropic's input is what was neither read from nor written to its cache. The split
            // by lifetime is told only at the start; the sum told last decides.
            const std::int64_t split = told(raw::write_5m) + told(raw::write_1h);
            const std::int64_t written =
                has(raw::anthropic_write) ? told(raw::anthropic_write) : split;
            t.cache_write_1h = std::min(told(raw::write_1h), written);
            t.cache_write_5m = written - t.cache_write_1h;
            t.input += written + t.cached_read;
        }
        const std::int64_t total = told(raw::total);
        if (!has(raw::prompt) && !has(raw::input))
            t.input = std::max(total - t.output, std::int64_t{0});
        else if (!has(raw::completion) && !has(raw::output))
            t.output = std::max(total - t.input, std::int64_t{0});
        else if (t.reasoning > 0 && total == t.input + t.output + t.reasoning)
            t.output += t.reasoning;  // some servers leave it out of the completion
    }

    // Parts never exceed their whole, or prices would be taken from a negative rest.
    const auto part = [](std::int64_t& n, std::int64_t whole) { n = std::min(n, whole); };
    part(t.cached_read, t.input);
    part(t.cache_write_1h, t.input - t.cached_read);
    part(t.cache_write_5m, t.input - t.cached_read - t.cache_write_1h);
    part(t.audio_in, t.input);
    part(t.image_in, t.input - t.audio_in);
    part(t.reasoning, t.output);
    part(t.audio_out, t.output);
    part(t.image_out, t.output - t.audio_out);
}

}  // namespace kw::usage
