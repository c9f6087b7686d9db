// Types and names of the realtime API's and the responses socket's events.
#include "usage/socket_events.hpp"

#include <algorithm>
#include <array>

namespace kw::usage {
namespace {

using k = key;

struct known_type {
    std::string_view name;
    socket_event kind;
};

// The older names of the realtime API beside the newer ones.
constexpr auto known_types = std::to_array<known_type>({
    {"response.created", socket_event::response_begins},
    {"response.done", socket_event::response_ends},
    {"response.completed", socket_event::response_ends},
    {"response.incomplete", socket_event::response_ends},
    {"response.failed", socket_event::response_ends},
    {"conversation.item.input_audio_transcription.completed", socket_event::transcribed},
    {"session.created", socket_event::session},
    {"session.updated", socket_event::session},
    {"conversation.created", socket_event::session},
    {"transcription_session.created", socket_event::session},
    {"transcription_session.updated", socket_event::session},
    {"response.output_audio.delta", socket_event::audio},
    {"response.audio.delta", socket_event::audio},
    {"response.create", socket_event::create},
    {"error", socket_event::failed},
});

}  // namespace

void socket_scanner::begin(bool from_client) {
    usage_.configure("application/json", {});
    walker_.reset();
    kind_ = socket_event::other;
    typed_ = creates_ = done_ = false;
    from_client_ = from_client;
    size_ = generated_ = 0;
    response_id_.clear();
    made_id_.clear();
}

void socket_scanner::feed(std::string_view piece) {
    size_ += static_cast<std::int64_t>(piece.size());
    // In steps, so that a large message whose type comes first is not walked through.
    constexpr std::size_t step = 512;
    while (!done_ && !piece.empty()) {
        const std::string_view part = piece.substr(0, typed_ ? piece.size() : step);
        piece.remove_prefix(part.size());
        walker_.feed(part, *this);
        usage_.feed(part);
        done_ = typed_ && !from_client_ &&
                (kind_ == socket_event::other || kind_ == socket_event::audio);
    }
}

void socket_scanner::end() {
    if (!done_) usage_.finish(true);
    if (kind_ == socket_event::audio) generated_ = size_;
}

void socket_scanner::on_type(std::string_view type) {
    const auto* known = std::ranges::find(known_types, type, &known_type::name);
    if (known != known_types.end()) {
        kind_ = known->kind;
    } else if (type.starts_with("response.") && type.ends_with(".delta")) {
        kind_ = socket_event::text;
    } else {
        kind_ = socket_event::other;
    }
    if (kind_ == socket_event::create) creates_ = true;
}

void socket_scanner::on_value(const json_value& v) {
    if (v.what != json_value::kind::string) return;
    switch (v.path) {
        case path_of(k::type):
            on_type(v.text);
            typed_ = true;
            break;
        case path_of(k::delta):
            generated_ = static_cast<std::int64_t>(v.length);
            break;
        case path_of(k::id):
            response_id_ = v.text;
            break;
        case path_of(k::session, k::id):
        case path_of(k::conversation, k::id):
            made_id_ = v.text;
            break;
        case path_of(k::session, k::model):
            session_model_ = v.text;
            break;
        case path_of(k::session, k::audio, k::input, k::transcription, k::model):
        case path_of(k::session, k::input_audio_transcription, k::model):
            transcription_model_ = v.text;
            break;
        default:
            break;
    }
}

}  // namespace kw::usage
