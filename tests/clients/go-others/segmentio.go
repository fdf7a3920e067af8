package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

type segmentioLibrary struct {
	bootstrap string
	writers   map[string]*kafka.Writer
}

func newSegmentio(bootstrap string) *segmentioLibrary {
	return &segmentioLibrary{bootstrap, map[string]*kafka.Writer{}}
}

var segmentioCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func (library *segmentioLibrary) createTopic(topic string, partitions int) error {
	connection, err := kafka.Dial("tcp", library.bootstrap)
	if err != nil {
		return err
	}
	defer connection.Close()
	return connection.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1})
}

func (library *segmentioLibrary) produce(topic, compression string, partition int, values ...[]byte) error {
	key := fmt.Sprint(topic, compression, partition)
	writer := library.writers[key]
	if writer == nil {
		writer = &kafka.Writer{
			Addr: kafka.TCP(library.bootstrap), Topic: topic, RequiredAcks: kafka.RequireAll,
			Compression: segmentioCodecs[compression], BatchTimeout: 5 * time.Millisecond,
			AllowAutoTopicCreation: true,
		}
		if partition >= 0 {
			writer.Balancer = kafka.BalancerFunc(func(kafka.Message, ...int) int { return partition })
		}
		library.writers[key] = writer
	}
	var messages []kafka.Message
	for _, value := range values {
		messages = append(messages, kafka.Message{Value: value})
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := writer.WriteMessages(ctx, messages...)
		// The writer does not wait for a topic that its own metadata request creates.
		if errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable) {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		return err
	}
}

func (library *segmentioLibrary) consume(topic string, count int) ([][]byte, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{library.bootstrap}, Topic: topic, Partition: 0, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var values [][]byte
	for len(values) < count {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return values, fmt.Errorf("%d of %d records: %w", len(values), count, err)
		}
		values = append(values, message.Value)
	}
	return values, nil
}

type segmentioMember struct {
	reader *kafka.Reader
	cancel context.CancelFunc
	done   chan error
}

func (library *segmentioLibrary) join(group, topic string, seen func(int, []byte)) (member, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{library.bootstrap}, GroupID: group, Topic: topic, MaxWait: 100 * time.Millisecond,
		HeartbeatInterval: 300 * time.Millisecond, StartOffset: kafka.FirstOffset,
		GroupBalancers: []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	member := &segmentioMember{reader, cancel, make(chan error, 1)}
	go func() {
		for {
			message, err := reader.FetchMessage(ctx)
			if err != nil {
				member.done <- nil
				return
			}
			seen(message.Partition, message.Value)
			if err := reader.CommitMessages(ctx, message); err != nil && ctx.Err() == nil {
				member.done <- err
				return
			}
		}
	}()
	return member, nil
}

func (member *segmentioMember) leave() error {
	member.cancel()
	err := <-member.done
	return errors.Join(err, member.reader.Close())
}
