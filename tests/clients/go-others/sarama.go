package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

type saramaLibrary struct {
	bootstrap []string
	producers map[string]sarama.SyncProducer
}

func newSarama(bootstrap string) *saramaLibrary {
	return &saramaLibrary{[]string{bootstrap}, map[string]sarama.SyncProducer{}}
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (library *saramaLibrary) createTopic(topic string, partitions int) error {
	admin, err := sarama.NewClusterAdmin(library.bootstrap, sarama.NewConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false)
}

// producer is idempotent: Sarama then keeps one request in flight.
func (library *saramaLibrary) producer(compression string, partition int) (sarama.SyncProducer, error) {
	key := fmt.Sprint(compression, partition >= 0)
	if producer := library.producers[key]; producer != nil {
		return producer, nil
	}
	config := sarama.NewConfig()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Compression = saramaCodecs[compression]
	if partition >= 0 {
		config.Producer.Partitioner = sarama.NewManualPartitioner
	}
	producer, err := sarama.NewSyncProducer(library.bootstrap, config)
	library.producers[key] = producer
	return producer, err
}

func (library *saramaLibrary) produce(topic, compression string, partition int, values ...[]byte) error {
	producer, err := library.producer(compression, partition)
	if err != nil {
		return err
	}
	var messages []*sarama.ProducerMessage
	for _, value := range values {
		message := &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(value)}
		if partition >= 0 {
			message.Partition = int32(partition)
		}
		messages = append(messages, message)
	}
	err = producer.SendMessages(messages)
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		return many[0].Err
	}
	return err
}

func (library *saramaLibrary) consume(topic string, count int) ([][]byte, error) {
	consumer, err := sarama.NewConsumer(library.bootstrap, sarama.NewConfig())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var values [][]byte
	timeout := time.After(patience)
	for len(values) < count {
		select {
		case message := <-partition.Messages():
			values = append(values, message.Value)
		case <-timeout:
			return values, fmt.Errorf("%d of %d records", len(values), count)
		}
	}
	return values, nil
}

type saramaMember struct {
	group  sarama.ConsumerGroup
	cancel context.CancelFunc
	done   chan error
	seen   func(int, []byte)
}

func (library *saramaLibrary) join(group, topic string, seen func(int, []byte)) (member, error) {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	joined, err := sarama.NewConsumerGroup(library.bootstrap, group, config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	member := &saramaMember{joined, cancel, make(chan error, 1), seen}
	go func() {
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, member); err != nil {
				member.done <- err
				return
			}
		}
		member.done <- nil
	}()
	return member, nil
}

func (member *saramaMember) leave() error {
	member.cancel()
	err := <-member.done
	return errors.Join(err, member.group.Close())
}

func (member *saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (member *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (member *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			member.seen(int(message.Partition), message.Value)
			session.MarkMessage(message, "")
			session.Commit()
		case <-session.Context().Done():
			return nil
		}
	}
}
