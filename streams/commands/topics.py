"""`dialysis-alerts topics`: print the topics, or make them on a broker."""

import asyncio

from models.settings import Settings
from streams.commands.console import complain, print_table, say
from streams.exit_status import DONE, FAILED
from streams.kafka.clients import KafkaFailedError
from streams.kafka.topic_setup import ensure_topics, wanted_topics


def show(settings: Settings) -> int:
    """Print the topics with their settings, without a broker."""
    rows = [
        (
            topic.name,
            topic.spec.key,
            str(topic.partitions),
            str(settings.replication),
            topic.spec.carries,
            " ".join(f"{key}={value}" for key, value in topic.spec.config.items()),
        )
        for topic in wanted_topics(settings)
    ]
    print_table("Topics", ("topic", "key", "partitions", "replicas", "carries", "settings"), rows)
    return DONE


def create(settings: Settings) -> int:
    """Make missing topics and report what differs from the required ones.

    Returns:
        The exit status: 1 where a topic cannot be used or the broker does not answer.
    """
    try:
        outcome = asyncio.run(ensure_topics(settings))
    except KafkaFailedError as error:
        complain(str(error))
        return FAILED
    for name in outcome.created:
        say(f"created {name}")
    say(f"{len(outcome.created)} created, {len(outcome.existing)} were there.")
    for note in outcome.notes:
        say(f"note: {note}")
    for difference in outcome.differences:
        complain(difference)
    if outcome.differences:
        complain(
            "A worker needs them as wanted: change them, set DIALYSIS_PARTITIONS to what is there, or make them anew."
        )
        return FAILED
    return DONE
