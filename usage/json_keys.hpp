// The keys of provider answers that mean something to us, as small numbers, and paths made of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace kw::usage {

enum class key : std::uint8_t {
    none,
    other,
    item,  // an array's element
    url,
    code,
    data,
    text,
    type,
    audio,
    delta,
    error,
    model,
    parts,
    usage,
    output,
    status,
    choices,
    content,
    message,
    refusal,
    seconds,
    b64_json,
    modality,
    response,
    thinking,
    arguments,
    reasoning,
    candidates,
    tokenCount,
    stop_reason,
    audio_tokens,
    finishReason,
    image_tokens,
    input_tokens,
    modelVersion,
    partial_json,
    service_tier,
    total_tokens,
    cached_tokens,
    finish_reason,
    output_tokens,
    prompt_tokens,
    usageMetadata,
    cache_creation,
    server_tool_use,
    thinking_tokens,
    totalTokenCount,
    promptTokenCount,
    reasoning_tokens,
    completion_tokens,
    reasoning_content,
    cache_write_tokens,
    cacheTokensDetails,
    input_token_details,
    thoughtsTokenCount,
    web_search_requests,
    output_token_details,
    input_tokens_details,
    promptTokensDetails,
    candidatesTokenCount,
    output_tokens_details,
    prompt_tokens_details,
    cache_read_input_tokens,
    cachedContentTokenCount,
    toolUsePromptTokenCount,
    candidatesTokensDetails,
    prompt_cache_hit_tokens,
    completion_tokens_details,
    ephemeral_1h_input_tokens,
    ephemeral_5m_input_tokens,
    cache_creation_input_tokens,
    count_
};

struct key_name {
    std::string_view name;
    key id;
};

inline constexpr std::array<key_name, static_cast<std::size_t>(key::count_) - 3> key_names{{
#define KW_KEY(x) {#x, key::x}
    KW_KEY(url),
    KW_KEY(code),
    KW_KEY(data),
    KW_KEY(text),
    KW_KEY(type),
    KW_KEY(audio),
    KW_KEY(delta),
    KW_KEY(error),
    KW_KEY(model),
    KW_KEY(parts),
    KW_KEY(usage),
    KW_KEY(output),
    KW_KEY(status),
    KW_KEY(choices),
    KW_KEY(content),
    KW_KEY(message),
    KW_KEY(refusal),
    KW_KEY(seconds),
    KW_KEY(b64_json),
    KW_KEY(modality),
    KW_KEY(response),
    KW_KEY(thinking),
    KW_KEY(arguments),
    KW_KEY(reasoning),
    KW_KEY(candidates),
    KW_KEY(tokenCount),
    KW_KEY(stop_reason),
    KW_KEY(audio_tokens),
    KW_KEY(finishReason),
    KW_KEY(image_tokens),
    KW_KEY(input_tokens),
    KW_KEY(modelVersion),
    KW_KEY(partial_json),
    KW_KEY(service_tier),
    KW_KEY(total_tokens),
    KW_KEY(cached_tokens),
    KW_KEY(finish_reason),
    KW_KEY(output_tokens),
    KW_KEY(prompt_tokens),
    KW_KEY(usageMetadata),
    KW_KEY(cache_creation),
    KW_KEY(server_tool_use),
    KW_KEY(thinking_tokens),
    KW_KEY(totalTokenCount),
    KW_KEY(promptTokenCount),
    KW_KEY(reasoning_tokens),
    KW_KEY(completion_tokens),
    KW_KEY(reasoning_content),
    KW_KEY(cache_write_tokens),
    KW_KEY(cacheTokensDetails),
    KW_KEY(thoughtsTokenCount),
    KW_KEY(input_token_details),
    KW_KEY(promptTokensDetails),
    KW_KEY(web_search_requests),
    KW_KEY(candidatesTokenCount),
    KW_KEY(input_tokens_details),
    KW_KEY(output_token_details),
    KW_KEY(output_tokens_details),
    KW_KEY(prompt_tokens_details),
    KW_KEY(cache_read_input_tokens),
    KW_KEY(cachedContentTokenCount),
    KW_KEY(candidatesTokensDetails),
    KW_KEY(prompt_cache_hit_tokens),
    KW_KEY(toolUsePromptTokenCount),
    KW_KEY(completion_tokens_details),
    KW_KEY(ephemeral_1h_input_tokens),
    KW_KEY(ephemeral_5m_input_tokens),
    KW_KEY(cache_creation_input_tokens),
#undef KW_KEY
}};

inline constexpr std::size_t longest_key = 27;
static_assert(std::is_sorted(key_names.begin(), key_names.end(),
                             [](auto& a, auto& b) { return a.name.size() < b.name.size(); }));
static_assert(key_names.back().name.size() == longest_key);

// first_key[n]: where the keys of length n begin in key_names.
inline constexpr auto first_key = [] {
    std::array<std::uint8_t, longest_key + 2> first{};
    for (std::size_t n = 0; n < first.size(); ++n) {
        std::uint8_t at = 0;
        while (at < key_names.size() && key_names[at].name.size() < n)
            ++at;
        first[n] = at;
    }
    return first;
}();

[[nodiscard]] constexpr key find_key(std::string_view name) noexcept {
    if (name.size() > longest_key) return key::other;
    for (std::size_t i = first_key[name.size()]; i < first_key[name.size() + 1]; ++i)
        if (key_names[i].name == name) return key_names[i].id;
    return key::other;
}

// A place in a document: one byte a level, the outermost highest. Deeper than eight levels the
// outermost fall off; what is left is never equal to a path of fewer levels.
using json_path = std::uint64_t;

[[nodiscard]] constexpr json_path below(json_path path, key k) noexcept {
    return path << 8U | static_cast<json_path>(k);
}

template <class... Keys>
[[nodiscard]] constexpr json_path path_of(Keys... keys) noexcept {
    json_path path = 0;
    ((path = below(path, keys)), ...);
    return path;
}

}  // namespace kw::usage
