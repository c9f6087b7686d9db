// The keys of provider answers that mean something to us, as small numbers, and paths made of them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

namespace kw::usage {

enum class key : std::uint8_t {
    none,
    other,
    item,  // an array's element
    id,
    url,
    code,
    data,
    size,
    text,
    type,
    audio,
    delta,
    error,
    input,
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
    session,
    b64_json,
    modality,
    response,
    thinking,
    arguments,
    reasoning,
    background,
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
    conversation,
    transcription,
    cached_tokens,
    finish_reason,
    output_tokens,
    prompt_tokens,
    usageMetadata,
    cache_creation,
    trained_tokens,
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
    input_audio_transcription,
    count_
};

struct key_name {
    std::string_view name;
    key id;
};

inline constexpr std::array<key_name, static_cast<std::size_t>(key::count_) - 3> key_names{{
#define KW_KEY(x) {#x, key::x}
    KW_KEY(id),
    KW_KEY(url),
    KW_KEY(code),
    KW_KEY(data),
    KW_KEY(size),
    KW_KEY(text),
    KW_KEY(type),
    KW_KEY(audio),
    KW_KEY(delta),
    KW_KEY(error),
    KW_KEY(input),
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
    KW_KEY(session),
    KW_KEY(b64_json),
    KW_KEY(modality),
    KW_KEY(response),
    KW_KEY(thinking),
    KW_KEY(arguments),
    KW_KEY(reasoning),
    KW_KEY(background),
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
    KW_KEY(conversation),
    KW_KEY(transcription),
    KW_KEY(cached_tokens),
    KW_KEY(finish_reason),
    KW_KEY(output_tokens),
    KW_KEY(prompt_tokens),
    KW_KEY(usageMetadata),
    KW_KEY(cache_creation),
    KW_KEY(trained_tokens),
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
    KW_KEY(input_audio_transcription),
#undef KW_KEY
}};

// A perfect hash over length, first, middle and last character, its multiplier found at compile
// time: one comparison decides.
inline constexpr std::size_t key_slots = 1024;

[[nodiscard]] constexpr std::size_t key_hash(std::string_view name, std::uint32_t by) noexcept {
    const auto u = [](char c) { return static_cast<std::uint32_t>(static_cast<unsigned char>(c)); };
    const std::uint32_t mixed =
        static_cast<std::uint32_t>(name.size()) | u(name.front()) << 8U |
        u(name[(std::max<std::size_t>(name.size(), 3) - 1) / 2 - 1]) << 16U | u(name.back()) << 24U;
    return (mixed * by) >> 22U;
}

inline constexpr std::uint32_t key_multiplier = [] {
    for (std::uint32_t by = 0x9E37'79B1;; by = by * 1'664'525U + 1'013'904'223U) {
        std::array<bool, key_slots> used{};
        bool apart = true;
        for (const auto& k : key_names)
            apart = apart && !std::exchange(used[key_hash(k.name, by)], true);
        if (apart) return by;
    }
}();

inline constexpr auto key_table = [] {
    std::array<std::uint8_t, key_slots> table{};  // index in key_names + 1
    std::uint8_t i = 0;
    for (const auto& k : key_names)
        table[key_hash(k.name, key_multiplier)] = ++i;
    return table;
}();

inline constexpr std::size_t shortest_key = 2;
static_assert(std::all_of(key_names.begin(), key_names.end(),
                          [](auto& k) { return k.name.size() >= shortest_key; }));

[[nodiscard]] constexpr key find_key(std::string_view name) noexcept {
    if (name.size() < shortest_key) return key::other;
    const std::uint8_t at = key_table[key_hash(name, key_multiplier)];
    return at != 0 && key_names[at - 1].name == name ? key_names[at - 1].id : key::other;
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
